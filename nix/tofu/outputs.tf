output "server_ip" {
  description = "Address of the DNS records."
  value       = digitalocean_reserved_ip.server.ip_address
}

output "ssh" {
  value = "ssh root@${digitalocean_droplet.server.ipv4_address}"
}

output "backend_url" {
  value = "https://${var.backend_domain}/"
}

output "cdn_endpoint" {
  value = "https://${digitalocean_cdn.releases.endpoint}"
}

output "logs" {
  value = "ssh root@${digitalocean_droplet.server.ipv4_address} journalctl -u seance-backend -f"
}
