# devenv up            seance on https://backend.localhost:8443 and https://app.localhost:8443, restarted when a source changes
# devenv --profile prod up     the server's configuration (nix/templates/default) on the same ports, with the local CA
# devenv --profile s3 up       releases in a bucket; also: --profile postgres, --profile nats
# devenv test          the tests
{
  config,
  lib,
  pkgs,
  ...
}:
let
  toml = pkgs.formats.toml { };
  clean = import ./nix/module/clean.nix lib;

  # The server's settings, from the same files that the server is made of.
  production =
    (lib.evalModules {
      modules = [
        ./nix/module/settings.nix
        ./nix/templates/default/seance.nix
        {
          _module.args = { inherit pkgs; };
          # Only the settings are declared here.
          _module.check = false;
        }
      ];
    }).config.services.seance.settings;

  # Ports that need no privilege and collide with nobody's.
  local = {
    http.listen = [ "127.0.0.1:8080" ];
    https.listen = [ "127.0.0.1:8443" ];
    signaling.listen = [ "127.0.0.1:4444" ];
    metrics.listen = [ "127.0.0.1:9464" ];
    # Nobody's CA is asked for anything from here: every host has `tls = "local"`, and this is no address.
    acme.directory = "https://acme.invalid/directory";
  };
  # A bucket on this computer; the key is no secret, only of the form that Garage wants.
  bucket = {
    SPACES_BUCKET = "seance";
    SPACES_REGION = "us-east-1";
    SPACES_ACCESS_KEY_ID = "GK5ea9ce5ea9ce5ea9ce5ea9ce";
    SPACES_SECRET_ACCESS_KEY = lib.concatStrings (lib.replicate 16 "5ea9");
  };
  withLocalCa = lib.mapAttrs (_: host: host // { tls = "local"; });
in
{
  options.seance.settings = lib.mkOption {
    type = toml.type;
    description = "The configuration that `devenv up` runs.";
  };

  config = {
    packages = [
      pkgs.cargo-deny
      pkgs.cargo-machete
      pkgs.cargo-nextest
      pkgs.cmake
      pkgs.curl
      pkgs.opentofu
      pkgs.sops
    ];
    languages.rust.enable = true;

    seance.settings = lib.mkDefault (
      local
      // {
        hosts = withLocalCa {
          "backend.localhost" = { };
          "app.localhost".routes = [ { to.files.app = "default"; } ];
        };
      }
    );

    processes.seance = {
      exec = "exec cargo run -- serve --config ${toml.generate "seance.toml" config.seance.settings}";
      env.XDG_STATE_HOME = config.env.DEVENV_STATE;
      # READY=1 is sent when every listener is bound and the store has answered.
      ready.notify = true;
      watch = {
        paths = [
          ./src
          ./Cargo.toml
          ./Cargo.lock
        ];
        extensions = [
          "rs"
          "toml"
          "lock"
        ];
      };
    };

    enterTest = ''
      tests/run --quick
    '';

    profiles.prod.module.seance.settings = clean (
      removeAttrs production [ "store" ]
      // local
      // {
        hosts = withLocalCa production.hosts;
        signaling = production.signaling // local.signaling;
      }
    );
    profiles.s3.module =
      { config, ... }:
      {
        services.garage = {
          enable = true;
          buckets = [ bucket.SPACES_BUCKET ];
          # A key of its own making would be another one each time.
          afterStart = ''
            $GARAGE key info ${bucket.SPACES_ACCESS_KEY_ID} >/dev/null 2>&1 \
              || $GARAGE key import --yes -n seance ${bucket.SPACES_ACCESS_KEY_ID} ${bucket.SPACES_SECRET_ACCESS_KEY}
            $GARAGE bucket allow --read --write --owner ${bucket.SPACES_BUCKET} --key ${bucket.SPACES_ACCESS_KEY_ID}
          '';
        };
        processes.seance = {
          # When the key and its bucket are there.
          after = [ "devenv:processes:garage-configure@completed" ];
          env = bucket // {
            SPACES_ENDPOINT = config.env.GARAGE_S3_ENDPOINT;
            SEANCE_STORE__S3__PATH_STYLE = "true";
          };
        };
      };
    profiles.postgres.module.services.postgres = {
      enable = true;
      listen_addresses = "127.0.0.1";
      settings.wal_level = "logical";
      initialDatabases = [ { name = "seance"; } ];
    };
    profiles.nats.module =
      { config, ... }:
      {
        services.nats.enable = true;
        processes.seance = {
          after = [ "devenv:processes:nats@ready" ];
          env = {
            SEANCE_SIGNALING__BUS = "nats";
            SEANCE_SIGNALING__NATS__URLS = "nats://127.0.0.1:${toString config.processes.nats.ports.main.value}";
          };
        };
      };
  };
}
