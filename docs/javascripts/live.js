// Gives the frame of the live page its height and the palette of the site.
addEventListener("DOMContentLoaded", () => {
  const frame = document.querySelector("iframe.live");
  if (frame === null) return;
  const paint = () => {
    const liveScheme = document.body.dataset.mdColorScheme === "slate" ? "dark" : "light";
    frame.contentWindow.postMessage({ liveScheme }, "*");
  };
  addEventListener("message", ({ source, data }) => {
    if (source !== frame.contentWindow || !(data?.liveHeight > 0)) return;
    frame.style.height = `${data.liveHeight}px`;
    paint();
  });
  new MutationObserver(paint).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
});
