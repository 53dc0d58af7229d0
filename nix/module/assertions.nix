# What would fail, leak or be useless on the machine fails the rebuild instead.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.seance;
  inherit (cfg) configuration;

  inStore = path: lib.hasPrefix builtins.storeDir (toString path);

  # Options of the settings that hold a secret themselves; the file would lie in the world-readable store. The list is
  # the daemon's own (a test compares them).
  inlineSecrets = map (lib.splitString ".") (lib.importJSON ./secrets.json);

  # Every option that names a file with a secret, with what it names. Certificates are public.
  public = [
    "certificate_file"
    "ca_file"
    "tls_ca_file"
  ];
  secretFiles =
    at: value:
    if lib.isAttrs value then
      lib.concatLists (lib.mapAttrsToList (name: secretFiles (at ++ [ name ])) value)
    else if lib.isList value && lib.any lib.isAttrs value then
      lib.concatMap (secretFiles at) value
    else
      let
        name = lib.last at;
        isFile = (lib.hasSuffix "_file" name || lib.hasSuffix "_files" name) && !lib.elem name public;
      in
      lib.optionals isFile (
        map (file: {
          option = "services.seance.settings.${lib.concatStringsSep "." at}";
          inherit file;
        }) (lib.toList value)
      );
  named = secretFiles [ ] configuration;
  isRelative = file: !lib.hasPrefix "/" file;
in
{
  config = lib.mkIf cfg.enable {
    assertions =
      map (path: {
        assertion = !lib.hasAttrByPath path configuration;
        message = ''
          services.seance.settings.${lib.concatStringsSep "." path} is a secret, and the Nix store is readable by everybody.
          Put it into services.seance.credentials and name it in ${lib.last path}_file.
        '';
      }) inlineSecrets
      ++ lib.mapAttrsToList (name: path: {
        assertion = !inStore path;
        message = ''
          services.seance.credentials.${name} lies in the Nix store (${toString path}), which is readable by everybody.
          Name a file that exists on the machine only, such as a secret of sops-nix or agenix; write the path in quotes.
        '';
      }) cfg.credentials
      ++ [
        {
          assertion = cfg.environmentFile == null || !inStore cfg.environmentFile;
          message = ''
            services.seance.environmentFile lies in the Nix store (${toString cfg.environmentFile}), which is readable by everybody.
            Name a file that exists on the machine only; write the path in quotes.
          '';
        }
        {
          assertion = cfg.expectedEnvironment == [ ] || cfg.environmentFile != null;
          message = "services.seance.expectedEnvironment names variables, but there is no services.seance.environmentFile to set them.";
        }
        {
          assertion = configuration.http.behind_proxy or false -> configuration.http.trusted_proxies != [ ];
          message = "services.seance.settings.http.behind_proxy needs http.trusted_proxies: the networks of the proxy, without which every client would count as one.";
        }
      ]
      ++ map (use: {
        assertion = !inStore use.file;
        message = "${use.option} lies in the Nix store (${use.file}), which is readable by everybody. Use services.seance.credentials.";
      }) named
      ++ map (use: {
        assertion = !isRelative use.file || cfg.credentials ? ${use.file};
        message = "${use.option} names the credential `${use.file}`, which services.seance.credentials does not have.";
      }) named;
  };
}
