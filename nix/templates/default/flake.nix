{
  description = "A server that runs seance";

  inputs = {
    # The system's own packages; kept fresh by .github/workflows/deploy.yml, else by `nix flake update nixpkgs`.
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    seance.url = "github:OWNER/seance";
    seance.inputs.nixpkgs.follows = "nixpkgs";
  };

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
