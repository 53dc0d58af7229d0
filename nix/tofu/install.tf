locals {
  machine_directory = coalesce(var.machine_directory, abspath("${path.root}/../seance-server"))
}

# What configuration.nix reads. Nothing in it is secret.
resource "local_file" "machine" {
  filename        = "${local.machine_directory}/machine.json"
  file_permission = "0644"
  content = "${jsonencode({
    hostName         = var.server_name
    sshKeys          = [var.ssh_public_key]
    backendDomain    = var.backend_domain
    appDomain        = var.app_domain
    acmeContact      = var.acme_contact
    builderKeyHashes = var.builder_key_hashes
    memoryMiB        = endswith(coalesce(var.resize_to, var.droplet_size), "-1gb") ? 1024 : 2048
    installMemoryMiB = 2048
    disk             = "/dev/vda"
    store = {
      prefix       = var.spaces_path_prefix
      cdn_endpoint = "https://${digitalocean_cdn.releases.endpoint}"
      s3 = {
        bucket   = digitalocean_spaces_bucket.releases.name
        region   = var.region
        endpoint = "https://${var.region}.digitaloceanspaces.com"
      }
    }
  })}\n"
}

# The key goes straight into the files that the installation copies. `terraform_data` keeps no copy of it in the state
# beyond the one of digitalocean_spaces_key.
resource "terraform_data" "credentials" {
  triggers_replace = [digitalocean_spaces_key.server.access_key]

  provisioner "local-exec" {
    working_dir = local.machine_directory
    interpreter = ["bash", "-euc"]
    command     = <<-EOT
      umask 077
      # Beside the flake: what is in its directory is copied into the Nix store.
      mkdir -p "$PWD.extra-files/var/lib/secrets"
      printf %s "$ID" >"$PWD.extra-files/var/lib/secrets/spaces-key-id"
      printf %s "$SECRET" >"$PWD.extra-files/var/lib/secrets/spaces-secret-key"
    EOT
    environment = {
      ID     = digitalocean_spaces_key.server.access_key
      SECRET = digitalocean_spaces_key.server.secret_key
    }
  }
}

# Once for each droplet. A droplet made anew is installed anew.
resource "terraform_data" "install" {
  triggers_replace = [digitalocean_droplet.server.id]
  depends_on = [
    local_file.machine,
    terraform_data.credentials,
    digitalocean_firewall.server,
    cloudflare_dns_record.ipv4,
  ]

  provisioner "local-exec" {
    working_dir = local.machine_directory
    interpreter = ["bash", "-euc"]
    command     = <<-EOT
      for try in $(seq 60); do
        ssh -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$TARGET" true && break
        echo "waiting for ssh ($try)"; sleep 5
      done
      nix --extra-experimental-features 'nix-command flakes' run "path:$PWD#install" -- "$TARGET" --yes
    EOT
    environment = {
      TARGET = "root@${digitalocean_droplet.server.ipv4_address}"
    }
  }
}

# Later changes of machine.json are switched to; a reinstallation has them already.
resource "terraform_data" "switch" {
  triggers_replace = [local_file.machine.content]
  depends_on       = [terraform_data.install]

  provisioner "local-exec" {
    working_dir = local.machine_directory
    interpreter = ["bash", "-euc"]
    command     = "nix --extra-experimental-features 'nix-command flakes' run \"path:$PWD#switch\" -- \"$TARGET\""
    environment = {
      TARGET = "root@${digitalocean_droplet.server.ipv4_address}"
    }
  }
}
