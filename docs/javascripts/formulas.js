// Renders formulas with KaTeX 0.19.1 from docs/katex, without a network. Only pages with formulas load it.
{
  const formulas = document.querySelectorAll(".arithmatex");
  if (formulas.length) {
    const folder = new URL("../katex/", document.currentScript.src);
    const style = document.createElement("link");
    Object.assign(style, { rel: "stylesheet", href: new URL("katex.min.css", folder) });
    const script = document.createElement("script");
    script.src = new URL("katex.min.js", folder);
    script.onload = () => {
      for (const formula of formulas) {
        const text = formula.textContent.trim().slice(2, -2);
        katex.render(text, formula, { displayMode: formula.localName === "div", throwOnError: false });
      }
    };
    document.head.append(style, script);
  }
}
