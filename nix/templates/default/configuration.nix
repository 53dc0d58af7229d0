# The server. What differs between machines stands in machine.json, which `nix run .#install` and OpenTofu can write.
{ lib, ... }:
let
  machine = lib.importJSON ./machine.json;
in
{
  imports = [ ./seance.nix ];

  networking.hostName = machine.hostName;
  system.stateVersion = "26.05";

  seance.host = {
    inherit (machine)
      sshKeys
      disk
      memoryMiB
      installMemoryMiB
      ;
  };

  services.seance.enable = true;
}
