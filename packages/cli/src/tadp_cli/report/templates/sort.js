/* A click on the heading of a column sorts the rows of its table, within each group of rows; empty cells stay last. */
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, column) => row.cells[column]?.textContent.trim() ?? "";
  const isNumber = (text) => /^[+-]?\d/.test(text);
  const compare = (a, b) => isNumber(a) && isNumber(b) ? parseFloat(a) - parseFloat(b) : a.localeCompare(b);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numbers = [...body.rows].some((row) => isNumber(key(row, column)));
      const first = numbers ? "descending" : "ascending";
      const other = numbers ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const groups = [[]];
      for (const row of body.rows) row.querySelector("th.group") ? groups.push([row]) : groups.at(-1).push(row);
      for (const group of groups) {
        const start = group.length && group[0].querySelector("th.group") ? 1 : 0;
        const rows = group.slice(start).sort((a, b) => {
          const [left, right] = [key(a, column), key(b, column)];
          if (!left || !right) return (left ? 0 : 1) - (right ? 0 : 1);
          return order === "ascending" ? compare(left, right) : compare(right, left);
        });
        body.append(...group.slice(0, start), ...rows);
      }
    });
  });
}
