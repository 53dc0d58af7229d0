# What the daemon cannot do. It needs the network, its own directories and the sockets systemd gives it, nothing else.
# `systemd-analyze security` gives 1.1; what is left are the network and the descriptors of other units' files.
{
  CapabilityBoundingSet = "";
  AmbientCapabilities = "";
  NoNewPrivileges = true;
  # Root has no powers, and that is locked; the lock alone would lock nothing in.
  SecureBits = "noroot noroot-locked";
  # Possible because the sockets come from systemd: CAP_NET_BIND_SERVICE would not work inside.
  PrivateUsers = true;
  PrivateDevices = true;
  DevicePolicy = "closed";
  PrivateTmp = true;
  PrivateMounts = true;
  ProtectSystem = "strict";
  ProtectHome = true;
  ProtectProc = "invisible";
  ProcSubset = "pid";
  ProtectKernelTunables = true;
  ProtectKernelModules = true;
  ProtectKernelLogs = true;
  ProtectControlGroups = true;
  ProtectClock = true;
  ProtectHostname = true;
  KeyringMode = "private";
  RemoveIPC = true;
  LockPersonality = true;
  MemoryDenyWriteExecute = true;
  RestrictNamespaces = true;
  RestrictRealtime = true;
  RestrictSUIDSGID = true;
  RestrictAddressFamilies = [
    "AF_INET"
    "AF_INET6"
    "AF_UNIX"
  ];
  SystemCallArchitectures = "native";
  SystemCallFilter = [
    "@system-service"
    "~@privileged @resources"
  ];
  # An answer instead of a death: libraries try and do without.
  SystemCallErrorNumber = "EPERM";
}
