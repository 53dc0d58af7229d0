# The names of the guide's terraform.tfvars; a file with them goes beside these files, and not into git.

variable "ssh_public_key" {
  description = "The key that may log in as root: the content of ~/.ssh/id_ed25519.pub."
  type        = string
  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh.com) ", var.ssh_public_key))
    error_message = "This is not a public key in OpenSSH's form (ssh-ed25519 AAAA…)."
  }
}

variable "cloudflare_zone_id" {
  description = "Zone that the names lie in: Cloudflare's overview page of the domain, right column."
  type        = string
}

variable "backend_domain" {
  description = "The name that seance answers for."
  type        = string
  default     = "backend.seance.dev"
}

variable "app_domain" {
  description = "The name of the web app, or null."
  type        = string
  default     = null
}

variable "acme_contact" {
  description = "Mail address for the certificate authority, or null."
  type        = string
  default     = null
}

variable "server_name" {
  description = "Name of the droplet."
  type        = string
  default     = "seance-backend"
}

variable "droplet_size" {
  description = "Size of the droplet; NixOS is installed from memory, which takes 2 GB. Once it is installed, a smaller one will do: see resize_to."
  type        = string
  default     = "s-1vcpu-2gb"
  validation {
    condition     = !can(regex("-(512mb|1gb)", var.droplet_size))
    error_message = "The installation needs 2 GB of memory: s-1vcpu-2gb or larger. For a smaller droplet apply with this size first, then set resize_to = \"s-1vcpu-1gb\"."
  }
}

variable "resize_to" {
  description = "Size after the installation (CPU and memory only; the disk stays as it is), or null."
  type        = string
  default     = null
}

variable "region" {
  description = "Region of the droplet and of the bucket; it has to have Spaces."
  type        = string
  default     = "sfo3"
}

variable "admin_networks" {
  description = "Networks that may reach port 22."
  type        = list(string)
  default     = ["0.0.0.0/0", "::/0"]
}

variable "spaces_bucket" {
  description = "Name of the bucket for releases; unique in the region."
  type        = string
  default     = "seance-cdn"
}

variable "spaces_path_prefix" {
  description = "First part of every public key in the bucket: prod, dev …"
  type        = string
  default     = "prod"
}

variable "spaces_access_key_id" {
  description = "Key that may create buckets (DigitalOcean: API, Spaces Keys). Used by OpenTofu alone; the server gets a key of its own for this bucket."
  type        = string
  sensitive   = true
}

variable "spaces_secret_access_key" {
  description = "The secret to it."
  type        = string
  sensitive   = true
}

variable "builder_key_hashes" {
  description = "SHA-256 of the keys that may deploy (seance key new)."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for hash in var.builder_key_hashes : can(regex("^[0-9a-f]{64}$", hash))])
    error_message = "A hash is 64 hexadecimal digits, as seance key new prints it; not the key itself."
  }
}

variable "machine_directory" {
  description = "The machine's flake, a copy of nix/templates/default; its machine.json is written here. Null: ../seance-server. Not a directory that holds this state: Nix copies it into its store, which everybody can read."
  type        = string
  default     = null
}
