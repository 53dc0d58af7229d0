# nix run .#install, nix run .#switch: from Linux and from a Mac.
{ pkgs, nixos-anywhere }:
let
  inherit (pkgs) lib;
  app = name: runtimeInputs: {
    type = "app";
    program = lib.getExe (
      pkgs.writeShellApplication {
        inherit name runtimeInputs;
        runtimeEnv = {
          SEANCE_TEMPLATE = "${./templates/default}";
          SEANCE_HOME = lib.fileContents ./home;
        };
        text = builtins.readFile (./. + "/${name}");
      }
    );
    meta.description = "${name} a server that runs seance";
  };
in
{
  install = app "install" [
    (pkgs.callPackage (nixos-anywhere + "/src") { })
    pkgs.curl
    pkgs.jq
    pkgs.openssh
  ];
  switch = app "switch" [
    # By itself the program is called nixos-rebuild-ng.
    (pkgs.nixos-rebuild-ng.override { withNgSuffix = false; })
    pkgs.openssh
  ];
}
