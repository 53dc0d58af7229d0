# What seance does on the server; in seance's own repository `devenv --profile prod up` runs the same.
{ lib, ... }:
let
  machine = lib.importJSON ./machine.json;
in
{
  services.seance = {
    settings = lib.mkMerge [
      {
        hosts.${machine.backendDomain} = { };
        acme.contact = machine.acmeContact;
        signaling.listen = [ "[::]:4444" ];
        apps.default.builder_key_hashes = machine.builderKeyHashes;
      }
      (lib.mkIf (machine.appDomain != null) {
        # The `web/` tree of the newest deploy.
        hosts.${machine.appDomain}.routes = [ { to.files.app = "default"; } ];
      })
      (lib.mkIf (machine.store != null) {
        store.kind = "s3";
        store.s3 = {
          inherit (machine.store) bucket region endpoint;
          access_key_id_file = "spaces-key-id";
          secret_access_key_file = "spaces-secret-key";
        };
        apps.default = { inherit (machine.store) prefix cdn_endpoint; };
      })
    ];
    # The installation put them there; with sops-nix or agenix name the paths of its secrets instead.
    credentials = lib.mkIf (machine.store != null) {
      spaces-key-id = "/var/lib/secrets/spaces-key-id";
      spaces-secret-key = "/var/lib/secrets/spaces-secret-key";
    };
  };
}
