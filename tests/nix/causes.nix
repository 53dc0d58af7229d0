# Why the first authors gave NixOS up after an afternoon, each with what is so now (true) and a control (a message).
{
  lib,
  # The template's machine with further modules.
  droplet,
  # The messages of the assertions of a configuration that do not hold.
  failed,
}:
{
  "1: the disk that disko boots from and grub.device are the same" = {
    now =
      let
        # As they had it; EFI, which is on besides, would hide the fault.
        config = droplet [
          {
            boot.loader.grub.device = "/dev/vda";
            boot.loader.grub.efiSupport = lib.mkForce false;
            boot.loader.grub.efiInstallAsRemovable = lib.mkForce false;
          }
        ];
      in
      failed config == [ ] && config.boot.loader.grub.devices == [ "/dev/vda" ];
    control = failed (
      droplet [
        {
          boot.loader.grub.devices = lib.mkOverride 40 [ "/dev/vda" "/dev/vda" ];
          boot.loader.grub.efiSupport = lib.mkForce false;
          boot.loader.grub.efiInstallAsRemovable = lib.mkForce false;
        }
      ]
    );
    message = "You cannot have duplicated devices in mirroredBoots";
  };
  "2: nobody's key in the new system" = {
    now = (droplet [ ]).users.users.root.openssh.authorizedKeys.keys != [ ];
    control = failed (droplet [ { seance.host.sshKeys = lib.mkForce [ ]; } ]);
    message = "seance.host.sshKeys is empty: after the installation nobody could log in";
  };
  "2: DHCP on a droplet, which has none" =
    let
      inherit (droplet [ ]) networking services;
    in
    {
      now =
        !networking.useDHCP
        && services.cloud-init.enable
        && services.cloud-init.network.enable
        && services.cloud-init.settings.datasource_list == [ "ConfigDrive" "DigitalOcean" ];
    };
  "3: too little memory for the installer" = {
    now = failed (
      droplet [
        {
          seance.host = {
            memoryMiB = lib.mkForce 1024;
            installMemoryMiB = lib.mkForce 2048;
          };
        }
      ]
    ) == [ ];
    control = failed (
      droplet [
        {
          seance.host = {
            memoryMiB = lib.mkForce 1024;
            installMemoryMiB = lib.mkForce 1024;
          };
        }
      ]
    );
    message = "the installer runs in memory and needs 1536 MiB";
  };
  "3: 1 GB without swap" = {
    now = (droplet [ ]).swapDevices != [ ];
    control = failed (
      droplet [
        {
          seance.host = {
            memoryMiB = lib.mkForce 1024;
            swapMiB = 0;
          };
        }
      ]
    );
    message = "Give it a swap of 1024 MiB or more";
  };
  "3: an upgrade by itself that compiles on 2 GB" = {
    now = (droplet [ ]).warnings == [ ];
    control = (droplet [ { seance.host.autoUpgrade = "github:example/server#seance-backend"; } ]).warnings;
    message = "compiling seance there takes";
  };
  "5: a service that pulls and builds at boot" =
    let
      inherit (droplet [ ]) systemd services;
      started = map (unit: unit.text) (lib.attrValues systemd.units);
    in
    {
      now =
        lib.hasPrefix "${services.seance.package}/bin/seance " systemd.services.seance-backend.serviceConfig.ExecStart
        && !lib.any (text: builtins.match ".*(git pull|git clone|devenv|nix develop|nix-shell).*" text != null) started;
    };
}
