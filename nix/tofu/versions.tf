terraform {
  required_version = ">= 1.8"
  required_providers {
    cloudflare = {
      source  = "cloudflare/cloudflare"
      version = "~> 5.0"
    }
    digitalocean = {
      source  = "digitalocean/digitalocean"
      version = "~> 2.60"
    }
    local = {
      source  = "hashicorp/local"
      version = "~> 2.5"
    }
  }
  # The state holds the server's bucket key. Keep it off the disk: a backend with encryption (README, "State"), or
  # OpenTofu's own `encryption` block.
}

# DIGITALOCEAN_TOKEN and CLOUDFLARE_API_TOKEN come from the environment, never from a file.
provider "digitalocean" {
  spaces_access_id  = var.spaces_access_key_id
  spaces_secret_key = var.spaces_secret_access_key
}

provider "cloudflare" {}
