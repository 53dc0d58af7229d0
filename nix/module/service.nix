# seance-backend.service.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.seance;
  inherit (cfg) configuration;
  seance = lib.getExe' cfg.package "seance";

  # Below them systemd has made the directories and given them to the service.
  own = [
    "/var/lib/seance"
    "/var/cache/seance"
    "/var/log/seance"
    "/run/seance"
  ];
  directory = configuration.store.directory or "store";
  below = parent: directory == parent || lib.hasPrefix "${parent}/" directory;
  outside = lib.optional (
    configuration.store.kind or "filesystem" == "filesystem" && lib.hasPrefix "/" directory && !lib.any below own
  ) directory;

  catalog = "/usr/local/lib/systemd/catalog/seance.catalog";
  drainSeconds = configuration.http.drain_seconds or 10;

  # What a reload cannot put in force: a change of it restarts. The list is the daemon's own (a test compares them).
  needsRestart = lib.genAttrs (lib.importJSON ./at-start.json) (
    option: lib.attrByPath (lib.splitString "." option) null configuration
  );
in
{
  config = lib.mkIf cfg.enable {
    # Not a dynamic user: restores, the command line as root and volumes of their own need one stable owner.
    users.users.seance = {
      isSystemUser = true;
      group = "seance";
      home = "/var/lib/seance";
    };
    users.groups.seance = { };

    systemd.tmpfiles.settings.seance = lib.genAttrs outside (_: {
      d = {
        user = "seance";
        group = "seance";
        mode = "0700";
      };
    });

    # For `seance key new` and the like, by the version that runs.
    environment.systemPackages = [ cfg.package ];

    # `journalctl -x` explains events by what systemd compiles from its own store path and from this directory alone,
    # and NixOS's service for that runs when /usr is newer than /var, which says nothing about this file.
    systemd.services.seance-catalog = {
      description = "Explanations of seance's events for journalctl -x";
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = [
          "${pkgs.coreutils}/bin/install -D -m 0444 ${../seance.catalog} ${catalog}"
          "${config.systemd.package}/bin/journalctl --update-catalog"
        ];
        ExecStop = [
          "${pkgs.coreutils}/bin/rm -f ${catalog}"
          "${config.systemd.package}/bin/journalctl --update-catalog"
        ];
      };
    };

    systemd.services.seance-backend = {
      description = "seance: releases, updates, signaling";
      aliases = [ "seance.service" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      unitConfig.RequiresMountsFor = outside;

      # Stopping first would take the sockets down, too.
      stopIfChanged = false;
      # ExecStart names /etc, so that a changed configuration reloads and only a changed program restarts.
      reloadTriggers = [ cfg.configFile ];
      restartTriggers = [ (builtins.hashString "sha256" (builtins.toJSON needsRestart)) ];

      # With a limit a crash loop would end with the sockets gone; instead it is tried for ever, at most 2 s apart, and
      # heals by itself when the cause is gone.
      startLimitIntervalSec = 0;

      serviceConfig = {
        Type = "notify-reload";
        ExecStart = "${seance} serve --config /etc/seance/config.toml";
        # SIGHUP alone cannot fail: the daemon keeps its old configuration, and nobody would hear of it. systemd up to
        # 257 sends the signal beside this command, newer ones only when it succeeded.
        ExecReload = "${seance} check-config --quiet /etc/seance/config.toml";
        EnvironmentFile = lib.mkIf (cfg.environmentFile != null) [ (toString cfg.environmentFile) ];
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${toString path}") cfg.credentials;

        Restart = "always";
        RestartSec = "100ms";
        RestartSteps = 5;
        RestartMaxDelaySec = "2s";
        WatchdogSec = "30s";
        # The drain, then a reserve for writing what has to be written.
        TimeoutStopSec = drainSeconds + 20;
        # A child that runs out of memory is no reason to stop the daemon.
        OOMPolicy = "continue";
        LimitNOFILE = 524288;

        User = "seance";
        Group = "seance";
        UMask = "0077";
        StateDirectory = "seance";
        StateDirectoryMode = "0700";
        CacheDirectory = "seance";
        CacheDirectoryMode = "0700";
        LogsDirectory = "seance";
        LogsDirectoryMode = "0700";
        RuntimeDirectory = "seance";
        RuntimeDirectoryMode = "0700";
        ReadWritePaths = outside;
      }
      // import ./hardening.nix;
    };
  };
}
