# A droplet. It has no DHCP: its addresses come from the metadata of its config drive, which cloud-init reads.
{ lib, modulesPath, ... }:
{
  imports = [ "${modulesPath}/virtualisation/digital-ocean-config.nix" ];

  # Keys and configuration are this flake's, not the droplet's metadata.
  virtualisation.digitalOcean = {
    setSshKeys = false;
    setRootPassword = false;
    rebuildFromUserData = false;
  };
  services.do-agent.enable = lib.mkOverride 900 false;

  networking.useDHCP = lib.mkForce false;
  services.cloud-init = {
    enable = true;
    network.enable = true;
    settings = {
      datasource_list = [
        "ConfigDrive"
        "DigitalOcean"
      ];
      datasource.ConfigDrive.dsmode = "local";
      preserve_hostname = true;
      disable_root = false;
      ssh_deletekeys = false;
    };
  };
}
