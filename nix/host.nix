# A server that can be reached after the installation, and looks after itself.
{
  config,
  lib,
  modulesPath,
  ...
}:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.seance.host;
in
{
  imports = [ "${modulesPath}/profiles/qemu-guest.nix" ];

  options.seance.host = {
    sshKeys = mkOption {
      type = types.listOf types.singleLineStr;
      default = [ ];
      example = [ "ssh-ed25519 AAAAC3Nza… you@laptop" ];
      description = "Public keys that may log in as root. The installation copies none from the machine before.";
    };
    disk = mkOption {
      type = types.str;
      default = "/dev/vda";
      description = "The disk to install on. Everything on it is lost. Hetzner Cloud: `/dev/sda`.";
    };
    memoryMiB = mkOption {
      type = types.ints.positive;
      default = 2048;
      description = "Memory of the machine.";
    };
    installMemoryMiB = mkOption {
      type = types.ints.positive;
      default = cfg.memoryMiB;
      defaultText = lib.literalExpression "config.seance.host.memoryMiB";
      description = "Memory of the machine while it is installed, when it is made smaller afterwards.";
    };
    swapMiB = mkOption {
      type = types.ints.unsigned;
      default = if cfg.memoryMiB < 4096 then 2048 else 0;
      defaultText = lib.literalExpression "if config.seance.host.memoryMiB < 4096 then 2048 else 0";
      description = "Size of the swap partition; 0 makes none.";
    };
    autoUpgrade = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "github:example/server#seance-backend";
      description = ''
        Switch to this flake every night: security updates without anybody at a keyboard, for as long as somebody keeps
        its lock file fresh. The machine builds what no binary cache has, seance among it, which takes 4 GB of memory.
        The workflow of the template does both elsewhere: it updates the lock every night, builds, and switches.
      '';
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.sshKeys != [ ];
        message = "seance.host.sshKeys is empty: after the installation nobody could log in. Put your public key there (cat ~/.ssh/id_ed25519.pub).";
      }
      {
        assertion = cfg.installMemoryMiB >= 1536;
        message = ''
          seance.host.installMemoryMiB is ${toString cfg.installMemoryMiB}: the installer runs in memory and needs 1536 MiB.
          Make the machine with 2 GB, install, resize it to its final size (CPU and memory only, not the disk), and say
          here seance.host.installMemoryMiB = 2048.
        '';
      }
      {
        assertion = cfg.memoryMiB >= 2048 || cfg.swapMiB >= 1024;
        message = "seance.host.memoryMiB is ${toString cfg.memoryMiB} and swapMiB ${toString cfg.swapMiB}: a rebuild on such a machine runs out of memory. Give it a swap of 1024 MiB or more.";
      }
    ];

    warnings = lib.optional (cfg.autoUpgrade != null && cfg.memoryMiB < 3900) ''
      seance.host.autoUpgrade builds on the machine, and seance.host.memoryMiB is ${toString cfg.memoryMiB}: compiling seance there takes
      4 GB. Let the workflow of the template upgrade it, or have a binary cache.
    '';

    users.users.root.openssh.authorizedKeys.keys = cfg.sshKeys;
    services.openssh = {
      enable = true;
      settings = {
        PermitRootLogin = "prohibit-password";
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        X11Forwarding = false;
      };
    };

    networking = {
      useNetworkd = mkDefault true;
      useDHCP = mkDefault true;
      firewall.enable = true;
    };
    services.seance.openFirewall = mkDefault true;
    services.timesyncd.enable = mkDefault true;

    boot.growPartition = true;
    boot.tmp.cleanOnBoot = true;
    # Messages of the boot in the provider's console.
    boot.kernelParams = [ "console=ttyS0" ];
    boot.loader.grub.configurationLimit = 10;

    nix = {
      settings.experimental-features = [
        "nix-command"
        "flakes"
      ];
      gc = {
        automatic = mkDefault true;
        dates = mkDefault "weekly";
        options = mkDefault "--delete-older-than 30d";
      };
      optimise.automatic = mkDefault true;
    };
    services.journald.extraConfig = ''
      SystemMaxUse=500M
      MaxRetentionSec=3month
    '';
    # The manuals are on the web; the disk is small.
    documentation.enable = mkDefault false;

    system.autoUpgrade = lib.mkIf (cfg.autoUpgrade != null) {
      enable = true;
      flake = cfg.autoUpgrade;
      dates = "04:40";
      randomizedDelaySec = "45min";
    };
  };
}
