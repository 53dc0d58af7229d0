# A certificate from a CA of our own (pebble), HTTPS with it, and the redirect from HTTP.
{ module }:
{
  name = "seance-acme";
  nodes = {
    acme =
      { nodes, modulesPath, ... }:
      {
        imports = [ "${modulesPath}/../tests/common/acme/server" ];
        networking.firewall.enable = false;
        # Where the CA looks for the challenge.
        networking.hosts.${nodes.machine.networking.primaryIPAddress} = [ "backend.example.test" ];
      };
    machine =
      { nodes, ... }:
      {
        imports = [ module ];
        networking.hosts.${nodes.acme.networking.primaryIPAddress} = [ "acme.test" ];
        services.seance = {
          enable = true;
          openFirewall = true;
          settings = {
            hosts."backend.example.test" = { };
            acme = {
              directory = "https://acme.test/dir";
              ca_file = "${nodes.acme.test-support.acme.caCert}";
            };
          };
        };
      };
    client =
      { nodes, ... }:
      {
        networking.hosts = {
          ${nodes.acme.networking.primaryIPAddress} = [ "acme.test" ];
          ${nodes.machine.networking.primaryIPAddress} = [ "backend.example.test" ];
        };
      };
  };
  testScript =
    { nodes, ... }:
    ''
      start_all()
      acme.wait_for_unit("pebble.service")
      machine.wait_for_unit("seance-backend.service")
      client.succeed(
          "curl -fsS --cacert ${nodes.acme.test-support.acme.caCert} https://acme.test:15000/roots/0 -o /tmp/root.pem"
      )
      client.wait_until_succeeds(
          "curl -fsS --cacert /tmp/root.pem https://backend.example.test/health/ready", timeout=60
      )
      answer = client.succeed("curl -sS -o /dev/null -w '%{http_code} %{redirect_url}' http://backend.example.test/ui")
      assert answer == "308 https://backend.example.test/ui", answer
    '';
}
