# nix develop: what building, testing and deploying take. `devenv up` runs the daemon, too.
{ pkgs }:
pkgs.mkShell {
  packages = [
    pkgs.cargo
    pkgs.cargo-deny
    pkgs.cargo-machete
    pkgs.clippy
    pkgs.cmake
    pkgs.curl
    pkgs.jq
    (pkgs.nixos-rebuild-ng.override { withNgSuffix = false; })
    pkgs.opentofu
    pkgs.rustc
    pkgs.rustfmt
    pkgs.sops
    pkgs.ssh-to-age
  ];
}
