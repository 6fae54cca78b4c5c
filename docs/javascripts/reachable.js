// What the theme leaves out for keyboards and screen readers: names of landmarks, and regions that scroll by arrow keys.
addEventListener("load", () => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

  // The name of a section whose title is a link stands beside it; sections of two rooms may have one name.
  for (const nav of document.querySelectorAll(".md-nav--primary .md-nav[aria-labelledby]")) {
    const names = [];
    for (let item = nav.closest(".md-nav__item"); item; item = item.parentElement.closest(".md-nav__item")) {
      const title = item.querySelector(":scope > .md-nav__link, :scope > .md-nav__container > .md-nav__link");
      names.unshift(title.textContent.trim());
    }
    nav.removeAttribute("aria-labelledby");
    nav.setAttribute("aria-label", names.join(": "));
  }

  // Buttons of a block of code are no landmark, of which a page would have dozens without a name.
  for (const buttons of document.querySelectorAll(".md-code__nav")) buttons.setAttribute("role", "none");

  const scrolls = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const regions = ".md-typeset__scrollwrap, .md-typeset pre > code, .md-typeset div.arithmatex";
  for (const region of document.querySelectorAll(regions)) scrolls.observe(region);
  // When the observer has seen all of them.
  requestAnimationFrame(() => setTimeout(() => (document.documentElement.dataset.reachable = "")));
});
