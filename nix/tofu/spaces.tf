resource "digitalocean_spaces_bucket" "releases" {
  name   = var.spaces_bucket
  region = var.region
  acl    = "private"

  lifecycle {
    # Every release that was ever published.
    prevent_destroy = true
  }
}

resource "digitalocean_spaces_bucket_cors_configuration" "releases" {
  bucket = digitalocean_spaces_bucket.releases.id
  region = var.region

  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = ["*"]
    allowed_headers = ["*"]
    expose_headers  = ["ETag", "Content-Range", "Accept-Ranges"]
    max_age_seconds = 3600
  }
}

resource "digitalocean_cdn" "releases" {
  origin = digitalocean_spaces_bucket.releases.bucket_domain_name
  # Manifests have to be fresh; artefacts say themselves that they never change.
  ttl = 60
}

# The server's own key reaches this bucket and no other.
resource "digitalocean_spaces_key" "server" {
  name = "${var.server_name}-${var.spaces_bucket}"
  grant {
    bucket     = digitalocean_spaces_bucket.releases.name
    permission = "readwrite"
  }

  lifecycle {
    # The old key works until the server has the new one.
    create_before_destroy = true
  }
}
