# nix flake check: the package, its lints and tests, the droplet, the option reference, and whole machines in VMs.
{
  self,
  pkgs,
  build,
}:
let
  inherit (pkgs) lib;
  vm = file: pkgs.testers.runNixOSTest (import file { module = self.nixosModules.default; });
in
{
  inherit (build)
    seance
    clippy
    tests
    format
    ;
  options = pkgs.runCommand "options-are-current" { } ''
    diff ${./options.md} ${
      pkgs.writeText "options.md" (
        import ./options.nix {
          inherit lib;
          inherit (self.nixosConfigurations.seance-backend) options;
        }
      )
    } && touch $out
  '';
}
// lib.optionalAttrs (pkgs.stdenv.hostPlatform.system == "x86_64-linux") {
  droplet = self.nixosConfigurations.seance-backend.config.system.build.toplevel;
}
// lib.mapAttrs' (file: _: {
  name = "vm-${lib.removeSuffix ".nix" file}";
  value = vm (./vm + "/${file}");
}) (builtins.readDir ./vm)
