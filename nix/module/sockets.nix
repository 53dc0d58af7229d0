# Listening sockets belong to systemd: they stay open while the daemon restarts, so a switch refuses nobody, and the
# daemon needs no capability for ports below 1024.
#
# A unit is named after its address. NixOS leaves a *changed* socket unit alone on a switch: nothing would listen on the
# new address, and the daemon cannot bind one below 1024 itself. But it stops a unit that is gone and starts one that is
# new.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.seance;
  inherit (cfg.configuration) http https signaling;

  # Everything after the last colon.
  port = address: lib.last (lib.splitString ":" address);
  # No colon: systemd-analyze takes it for "FILE:ALIAS".
  readable = lib.replaceStrings [ "[::]" "[" "]" ":" ] [ "any" "" "" "-" ];

  # An IPv6 wildcard serves IPv4 too, unless a listener of its own does for the same port.
  ipv4Ports = map port (
    lib.filter (address: !lib.hasPrefix "[" address) (http.listen ++ https.listen ++ signaling.listen)
  );

  socket = purpose: address: {
    name = "seance-${purpose}-${readable address}";
    value = {
      description = "seance ${purpose} on ${address}";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ address ];
      socketConfig = {
        FileDescriptorName = purpose;
        Service = "seance-backend.service";
        Backlog = 4096;
        NoDelay = true;
        # The address of a reserved IP may come up after the socket.
        FreeBind = true;
        BindIPv6Only = if lib.elem (port address) ipv4Ports then "ipv6-only" else "both";
        # A daemon that crashes on every start must not take its sockets down for good.
        TriggerLimitIntervalSec = 0;
      };
    };
  };
  sockets = lib.listToAttrs (
    map (socket "http") http.listen
    ++ map (socket "https") https.listen
    ++ map (socket "signaling") signaling.listen
  );

  public = address: !(lib.hasPrefix "127." address || lib.hasPrefix "[::1]" address);
in
{
  config = lib.mkIf cfg.enable {
    systemd.sockets = sockets;
    systemd.services.seance-backend.serviceConfig.Sockets = map (name: "${name}.socket") (
      lib.attrNames sockets
    );
    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall (
      lib.unique (
        map (address: lib.toInt (port address)) (
          lib.filter public (http.listen ++ https.listen ++ signaling.listen)
        )
      )
    );
  };
}
