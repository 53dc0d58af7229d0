{
  description = "The whole back end of a small product team in one binary";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
    disko = {
      url = "github:nix-community/disko";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    nixos-anywhere = {
      url = "github:nix-community/nixos-anywhere";
      flake = false;
    };
    sops-nix = {
      url = "github:Mic92/sops-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
      disko,
      nixos-anywhere,
      sops-nix,
    }:
    let
      inherit (nixpkgs) lib;
      # The daemon is for Linux; installing and developing works from a Mac, too.
      servers = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      desks = servers ++ [
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      packagesOf = system: nixpkgs.legacyPackages.${system};
      build = pkgs: import ./nix/package.nix { inherit pkgs crane; };
    in
    {
      packages = lib.genAttrs servers (
        system:
        let
          inherit (build (packagesOf system)) seance;
        in
        {
          inherit seance;
          default = seance;
        }
      );

      overlays.default = final: _: { inherit (build final) seance; };

      # A function: Nix 2.8 refuses a bare path here. The package comes from this flake, so no overlay is needed.
      nixosModules = {
        default =
          { pkgs, ... }:
          {
            imports = [ ./nix/module.nix ];
            services.seance.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.seance;
          };
        host = {
          imports = [
            disko.nixosModules.disko
            ./nix/disko.nix
            ./nix/host.nix
          ];
        };
        digitalocean = import ./nix/digitalocean.nix;
      };

      # A whole server from its own modules: what the template's flake calls.
      lib.server =
        modules:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            self.nixosModules.host
            sops-nix.nixosModules.sops
            { nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux"; }
          ]
          ++ modules;
        };
      nixosConfigurations.seance-backend = self.lib.server [
        self.nixosModules.digitalocean
        ./nix/templates/default/configuration.nix
      ];

      templates.default = {
        path = ./nix/templates/default;
        description = "A server that runs seance: fill in your key and your name, then `nix run .#install -- root@IP`";
      };

      apps = lib.genAttrs desks (
        system: import ./nix/apps.nix { pkgs = packagesOf system; inherit nixos-anywhere; }
      );

      checks = lib.genAttrs servers (
        system:
        import ./nix/checks.nix {
          inherit self;
          pkgs = packagesOf system;
          build = build (packagesOf system);
        }
      );

      devShells = lib.genAttrs desks (system: {
        default = import ./nix/shell.nix { pkgs = packagesOf system; };
      });

      formatter = lib.genAttrs desks (system: (packagesOf system).nixfmt-tree);
    };
}
