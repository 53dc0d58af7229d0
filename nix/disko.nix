# One disk that boots by BIOS (droplets) and by UEFI, with swap before the root, so that the root can grow to the end.
{ config, lib, ... }:
let
  cfg = config.seance.host;
in
{
  disko.devices.disk.main = {
    type = "disk";
    device = cfg.disk;
    content = {
      type = "gpt";
      partitions = {
        boot = {
          size = "1M";
          type = "EF02";
          priority = 1;
        };
        esp = {
          size = "256M";
          type = "EF00";
          priority = 2;
          content = {
            type = "filesystem";
            format = "vfat";
            mountpoint = "/boot/efi";
            mountOptions = [ "umask=0077" ];
          };
        };
        root = {
          size = "100%";
          content = {
            type = "filesystem";
            format = "ext4";
            mountpoint = "/";
          };
        };
      }
      // lib.optionalAttrs (cfg.swapMiB > 0) {
        swap = {
          size = "${toString cfg.swapMiB}M";
          priority = 3;
          content = {
            type = "swap";
            discardPolicy = "both";
          };
        };
      };
    };
  };

  # At each boot: the partition (boot.growPartition, nix/host.nix), then what is on it.
  fileSystems."/".autoResize = true;

  boot.loader.grub = {
    # disko adds the disk of its EF02 partition, and anybody who sets `device` adds it again: "You cannot have
    # duplicated devices in mirroredBoots".
    devices = lib.mkForce [ cfg.disk ];
    efiSupport = true;
    efiInstallAsRemovable = true;
  };
  boot.loader.efi.efiSysMountPoint = "/boot/efi";
}
