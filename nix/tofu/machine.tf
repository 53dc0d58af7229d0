# What configuration.nix and seance.nix of the machine's flake read. Nothing in it is secret.
locals {
  machine = {
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
      bucket       = digitalocean_spaces_bucket.releases.name
      region       = var.region
      endpoint     = "https://${var.region}.digitaloceanspaces.com"
    }
  }
}
