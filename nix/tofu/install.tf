locals {
  machine_directory = coalesce(var.machine_directory, abspath("${path.root}/../seance-server"))
  target            = "root@${digitalocean_droplet.server.ipv4_address}"
  # The scripts call Nix, too: a flag of the outer call would not reach them.
  nix_config = "extra-experimental-features = nix-command flakes"
}

resource "local_file" "machine" {
  filename        = "${local.machine_directory}/machine.json"
  file_permission = "0644"
  content         = "${jsonencode(local.machine)}\n"
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
      nix run "path:$PWD#install" -- "$TARGET" --yes
    EOT
    environment = {
      TARGET     = local.target
      NIX_CONFIG = local.nix_config
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
    command     = "nix run \"path:$PWD#switch\" -- \"$TARGET\""
    environment = {
      TARGET     = local.target
      NIX_CONFIG = local.nix_config
    }
  }
}

# A new key for a server that is there (tofu apply -replace=module.seance.digitalocean_spaces_key.server): the daemon reads
# it at its start, and the sockets stay open meanwhile. After an installation it changes nothing.
resource "terraform_data" "rotate" {
  triggers_replace = [digitalocean_spaces_key.server.access_key]
  # Not during a switch, which would take the restart for a failure.
  depends_on = [terraform_data.credentials, terraform_data.switch]

  provisioner "local-exec" {
    working_dir = local.machine_directory
    interpreter = ["bash", "-euc"]
    command     = <<-EOT
      secrets=$PWD.extra-files/var/lib/secrets
      # A new key has just been written there; on another desk there is none, and the server keeps what it has.
      [[ -e $secrets/spaces-key-id ]] || exit 0
      scp -q "$secrets"/spaces-* "$TARGET:/var/lib/secrets/"
      ssh "$TARGET" systemctl restart seance-backend
    EOT
    environment = {
      TARGET = local.target
    }
  }
}
