# The configuration file as options (NixOS RFC 42). Typed here: what the units, the firewall and the checks depend on,
# and what most machines set. Everything else of `seance config-reference` can be written as it stands there.
{
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  toml = pkgs.formats.toml { };

  # Accepts what Rust's SocketAddr does: an IPv6 address stands in brackets.
  address =
    types.strMatching "(\\[[0-9a-fA-F:.]+]|[0-9]{1,3}(\\.[0-9]{1,3}){3}):[0-9]{1,5}"
    // {
      description = "address and port, such as 127.0.0.1:3000 or [::]:443";
    };
  hash = types.strMatching "[0-9a-f]{64}" // {
    description = "SHA-256 in hexadecimal, as `seance key new` prints it";
  };

  optional =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  listen =
    default: text: description:
    mkOption {
      type = types.listOf address;
      inherit default description;
      defaultText = lib.literalExpression text;
    };
  section =
    options:
    mkOption {
      type = types.submodule {
        freeformType = toml.type;
        inherit options;
      };
      default = { };
    };
  secretFile =
    what:
    optional types.str "${what}: a name in {option}`services.seance.credentials`, or the path of a file that the user `seance` can read.";

  host.options = {
    tls = optional (types.enum [
      "acme"
      "local"
      "off"
    ]) "Where the certificate comes from; seance's default is `acme`, and `local` for localhost and names below it.";
    certificate_file = optional types.str "PEM file with a certificate chain, instead of one that is obtained.";
    key_file = secretFile "PEM file with its key";
    routes = mkOption {
      type = types.listOf toml.type;
      default = [ ];
      example = lib.literalExpression ''
        [
          { path = "/"; to.files = { app = "default"; }; }
          { path = "/beholder"; to.proxy.upstreams = [ "https://analytics.example.com" ]; }
        ]
      '';
      description = "What answers under which path; the longest path wins. Without routes all paths go to the back end.";
    };
  };

  app.options = {
    prefix = optional types.str "First part of the app's public keys in the store.";
    builder_key_hashes = mkOption {
      type = types.listOf hash;
      default = [ ];
      description = "SHA-256 of the keys that may deploy; several, so that a key can be changed without a gap.";
    };
    cdn_endpoint = optional types.str "Base of the public addresses of the app's files.";
    hosts = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Host names on which the app's routes need no `/apps/<name>`.";
    };
  };

  open =
    module:
    types.submodule {
      freeformType = toml.type;
      inherit (module) options;
    };
in
{
  options.services.seance.settings = mkOption {
    default = { };
    description = ''
      The configuration file, `/etc/seance/config.toml`. Every option of `seance config-reference` can be set; the file
      is proved with `seance check-config` while the system is built. Null means "not set". Lists of several modules
      are merged, and a value that several of them name counts once.
    '';
    example = lib.literalExpression ''
      {
        hosts."backend.example.com" = { };
        apps.default.builder_key_hashes = [ "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" ];
      }
    '';
    type = types.submodule (
      { config, ... }:
      let
        hasHosts = config.hosts != { };
        behindProxy = config.http.behind_proxy == true;
      in
      {
        freeformType = toml.type;
        options = {
          http = section {
            listen =
              listen (if hasHosts && !behindProxy then [ "[::]:80" ] else [ "127.0.0.1:3000" ])
                ''if settings.hosts != { } && !settings.http.behind_proxy then [ "[::]:80" ] else [ "127.0.0.1:3000" ]''
                "Plain listeners. With hosts they answer the CA and redirect to HTTPS.";
            behind_proxy = optional types.bool "Serve the hosts in plain text, for a proxy that terminates TLS.";
            trusted_proxies = mkOption {
              type = types.listOf types.str;
              default = [ ];
              description = "Networks whose `X-Forwarded-For` is believed.";
            };
            cors_origins = mkOption {
              type = types.listOf types.str;
              default = [ ];
              description = "Origins whose pages may read answers; `*` for any.";
            };
          };
          https = section {
            listen = listen (lib.optional (
              hasHosts && !behindProxy
            ) "[::]:443") ''lib.optional (settings.hosts != { } && !settings.http.behind_proxy) "[::]:443"'' "TLS listeners; used with hosts.";
          };
          acme = section {
            directory = optional types.str "The CA's directory; Let's Encrypt by default.";
            contact = optional types.str "Mail address that the CA writes to.";
            ca_file = optional types.str "PEM file with the root of the CA's own certificate, when it is not a public one.";
            eab_key_id = optional types.str "Account at a CA that asks for external account binding.";
            eab_hmac_key_file = secretFile "File with the key to it";
            storage = optional (types.enum [
              "disk"
              "store"
            ]) "`disk` keeps certificates in the state directory, `store` in the store, for several machines.";
          };
          hosts = mkOption {
            type = types.attrsOf (open host);
            default = { };
            description = "The names this machine answers for.";
          };
          metrics = section {
            listen = listen [ "127.0.0.1:9464" ] ''[ "127.0.0.1:9464" ]'' "Listeners for `/metrics`; bound by the daemon itself.";
          };
          store = section {
            kind = optional (types.enum [
              "filesystem"
              "s3"
            ]) "`filesystem` keeps objects in a directory, `s3` in a bucket; seance's default is `filesystem`, and `s3` when the environment names a bucket.";
            directory = optional types.str "Directory of the filesystem store; a relative one lies in `/var/lib/seance`. An absolute one is created and made writable for the service.";
            s3 = section {
              bucket = optional types.str "Name of the bucket.";
              region = optional types.str "Region, `sfo3`.";
              endpoint = optional types.str "Address of the service, `https://sfo3.digitaloceanspaces.com`.";
              access_key_id_file = secretFile "File with the access key id";
              secret_access_key_file = secretFile "File with the secret access key";
            };
          };
          signaling = section {
            listen = listen [ "127.0.0.1:4444" ] ''[ "127.0.0.1:4444" ]'' "Listeners of the y-webrtc room; an empty list leaves only `/signaling` of the HTTP listener.";
            allowed_origins = mkOption {
              type = types.listOf types.str;
              default = [ ];
              description = "Origins whose pages may connect. Empty: any.";
            };
            token_key_files = mkOption {
              type = types.listOf types.str;
              default = [ ];
              description = "Secrets of room tokens: names in {option}`services.seance.credentials`, or paths.";
            };
          };
          apps = mkOption {
            type = types.attrsOf (open app);
            default = { };
            description = "The products of this daemon.";
          };
        };
      }
    );
  };
}
