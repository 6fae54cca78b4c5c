// Sorts a table by the clicked column heading: ascending, then descending, then in the original order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const given = [...body.rows];
  if (given.length < 2) continue;
  const words = new Intl.Collator("en", { numeric: true });
  const numberOf = (text) => {
    const found = /^[-−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i.exec(text);
    return found ? Number(found[0].replace("−", "-").replace(/,/g, "")) : NaN;
  };
  const headings = [...table.tHead.rows].flatMap((row) => [...row.cells]).filter((cell) => cell.scope !== "colgroup");
  // Cells that span rows come first, then those of the last row.
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort ?? "none"];
      for (const other of headings) other.removeAttribute("aria-sort");
      if (next === "none") return body.append(...given);
      heading.ariaSort = next;
      const sign = next === "ascending" ? 1 : -1;
      const keyed = given.map((row) => {
        const text = row.cells[column].textContent.trim();
        return { row, text, number: numberOf(text) };
      });
      const numbers = keyed.some((one) => !Number.isNaN(one.number));
      keyed.sort((a, b) => {
        if (!numbers) return sign * words.compare(a.text, b.text);
        // Cells that are not numbers, such as dashes, come last in both orders.
        const missing = Number.isNaN(a.number) - Number.isNaN(b.number);
        return missing || (Number.isNaN(a.number) ? 0 : sign * (a.number - b.number));
      });
      body.append(...keyed.map((one) => one.row));
    });
  });
}
