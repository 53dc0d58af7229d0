// Browsers that hide the processor from the first request tell it here.
(async () => {
  const main = document.getElementById("main");
  const data = navigator.userAgentData;
  if (!main || !data) return;
  const { architecture, bitness } = await data.getHighEntropyValues(["architecture", "bitness"]);
  const wide = bitness !== "32";
  const arch = architecture === "arm" ? (wide ? "arm64" : "arm") : architecture === "x86" ? (wide ? "x64" : "x86") : "";
  if (!arch || arch === main.dataset.arch || main.dataset.arch === "universal") return;
  const better = document.querySelector(`a[data-best="${main.dataset.system}-${arch}"]`);
  if (!better) return;
  main.href = better.href;
  main.dataset.arch = arch;
  document.getElementById("details").textContent = better.dataset.details;
  const other = document.getElementById("other");
  if (other) other.hidden = true;
})();
