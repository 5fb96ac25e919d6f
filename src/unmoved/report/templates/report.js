(function () {
  "use strict";
  document.querySelectorAll("[data-inputs]").forEach(function (box) {
    var table = box.querySelector("table");
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows);
    var page = Number(box.dataset.page);
    var shown = page;
    var kind = "all";
    var more = box.querySelector(".more");
    var note = box.querySelector(".shown");
    function draw() {
      var fitting = 0;
      rows.forEach(function (row) {
        var fits = kind === "all" || row.dataset.kind.split(" ").indexOf(kind) >= 0;
        if (fits) { fitting += 1; }
        row.hidden = !fits || fitting > shown;
      });
      more.hidden = fitting <= shown;
      note.textContent = Math.min(shown, fitting) + " of " + fitting + " shown";
    }
    box.querySelectorAll("[data-filter]").forEach(function (button) {
      button.addEventListener("click", function () {
        kind = button.dataset.filter;
        shown = page;
        box.querySelectorAll("[data-filter]").forEach(function (other) {
          other.setAttribute("aria-pressed", String(other === button));
        });
        draw();
      });
    });
    more.addEventListener("click", function () { shown += 4 * page; draw(); });
    table.querySelectorAll("th[data-sort]").forEach(function (head) {
      var button = head.querySelector("button");
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        table.querySelectorAll("th[data-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var name = head.dataset.sort;
        rows.sort(function (a, b) {
          var difference = Number(a.dataset[name]) - Number(b.dataset[name]);
          return (down ? -difference : difference) || Number(a.dataset.index) - Number(b.dataset.index);
        });
        rows.forEach(function (row) { body.appendChild(row); });
        draw();
      });
    });
    box.classList.add("live");
    draw();
  });
}());
