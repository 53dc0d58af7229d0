{
  description = "A server that runs seance";

  inputs.seance.url = "github:OWNER/seance";

  outputs =
    { seance, ... }:
    {
      nixosConfigurations.seance-backend = seance.lib.server [
        # Not on a droplet (Hetzner Cloud, any other VPS): leave this line out.
        seance.nixosModules.digitalocean
        ./configuration.nix
      ];
      inherit (seance) apps;
    };
}
