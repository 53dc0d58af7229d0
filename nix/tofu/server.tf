resource "digitalocean_ssh_key" "admin" {
  name       = var.server_name
  public_key = var.ssh_public_key
}

# Debian only until NixOS takes its place.
resource "digitalocean_droplet" "server" {
  name        = var.server_name
  region      = var.region
  image       = "debian-12-x64"
  size        = coalesce(var.resize_to, var.droplet_size)
  resize_disk = false
  ipv6        = true
  monitoring  = false
  ssh_keys    = [digitalocean_ssh_key.admin.fingerprint]

  lifecycle {
    # Another key or image would make a new droplet; on the installed system they mean nothing.
    ignore_changes = [image, ssh_keys]
  }
}

# The address of the DNS records: it stays when the droplet is made anew.
resource "digitalocean_reserved_ip" "server" {
  region = var.region
}

resource "digitalocean_reserved_ip_assignment" "server" {
  ip_address = digitalocean_reserved_ip.server.ip_address
  droplet_id = digitalocean_droplet.server.id
}

resource "digitalocean_firewall" "server" {
  name        = var.server_name
  droplet_ids = [digitalocean_droplet.server.id]

  inbound_rule {
    protocol         = "tcp"
    port_range       = "22"
    source_addresses = var.admin_networks
  }

  dynamic "inbound_rule" {
    for_each = toset(["80", "443", "4444"])
    content {
      protocol         = "tcp"
      port_range       = inbound_rule.value
      source_addresses = ["0.0.0.0/0", "::/0"]
    }
  }

  inbound_rule {
    protocol         = "icmp"
    source_addresses = ["0.0.0.0/0", "::/0"]
  }

  dynamic "outbound_rule" {
    for_each = toset(["tcp", "udp"])
    content {
      protocol              = outbound_rule.value
      port_range            = "1-65535"
      destination_addresses = ["0.0.0.0/0", "::/0"]
    }
  }

  outbound_rule {
    protocol              = "icmp"
    destination_addresses = ["0.0.0.0/0", "::/0"]
  }
}

locals {
  names = toset([for name in [var.backend_domain, var.app_domain] : name if name != null])
}

# Not proxied: certificates are seance's own, and WebSockets and large uploads reach it as they are.
resource "cloudflare_dns_record" "ipv4" {
  for_each = local.names
  zone_id  = var.cloudflare_zone_id
  name     = each.value
  type     = "A"
  content  = digitalocean_reserved_ip.server.ip_address
  ttl      = 300
  proxied  = false
}

resource "cloudflare_dns_record" "ipv6" {
  for_each = local.names
  zone_id  = var.cloudflare_zone_id
  name     = each.value
  type     = "AAAA"
  content  = digitalocean_droplet.server.ipv6_address
  ttl      = 300
  proxied  = false
}
