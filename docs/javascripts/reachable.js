// Adds what the theme lacks for keyboards and screen readers: landmark names and regions that scroll with arrow keys.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

  // A section whose title is a link needs a label; sections in different parts of the site may share a name.
  for (const nav of document.querySelectorAll(".md-nav--primary .md-nav[aria-labelledby]")) {
    const names = [];
    for (let item = nav.closest(".md-nav__item"); item; item = item.parentElement.closest(".md-nav__item")) {
      const title = item.querySelector(":scope > .md-nav__link, :scope > .md-nav__container > .md-nav__link");
      names.unshift(title.textContent.trim());
    }
    nav.removeAttribute("aria-labelledby");
    nav.setAttribute("aria-label", names.join(": "));
  }

  // Code block buttons are not landmarks: a page would have dozens without names.
  for (const buttons of document.querySelectorAll(".md-code__nav")) buttons.setAttribute("role", "none");

  const scrolls = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const regions = ".md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset div.arithmatex";
  for (const region of document.querySelectorAll(regions)) scrolls.observe(region);
  // Runs after the observer has processed all regions.
  requestAnimationFrame(() => setTimeout(() => (document.documentElement.dataset.reachable = "")));
});
