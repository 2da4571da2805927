// Zooming of charts over time, all together, and tooltips of instructions. The page is complete without it.
"use strict";
(function () {
  var root = document.documentElement;
  root.classList.add("scripted");
  var theme = new URLSearchParams(location.search).get("theme");
  if (theme) root.setAttribute("data-theme", theme);

  var UNITS = 100000;
  var from = 0, width = UNITS;
  var charts = Array.from(document.querySelectorAll(".zoomable"));
  var windows = Array.from(document.querySelectorAll(".zoomable svg.window"));
  var texts = JSON.parse(document.getElementById("instructions").textContent);
  var tip = document.getElementById("tip");

  // A number of seconds with three digits.
  function seconds(value) {
    var prefixes = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
    var found = prefixes.find(function (p) { return Math.abs(value) >= 0.9995 * p[0]; }) || prefixes[3];
    return value === 0 ? "0" : String(+(value / found[0]).toPrecision(4)) + "\u00a0" + found[1];
  }

  function roundStep(rough) {
    var power = Math.pow(10, Math.floor(Math.log10(rough)));
    return [1, 2, 5, 10].map(function (m) { return m * power; }).find(function (s) { return s >= rough * 0.999999; });
  }

  function drawAxis(axis, total) {
    var first = total * from / UNITS, length = total * width / UNITS;
    var step = roundStep(length / (axis.ownerSVGElement.clientWidth > 600 ? 6 : 3));
    var y = +axis.getAttribute("data-y");
    var parts = [];
    for (var i = Math.ceil(first / step - 1e-9); i * step <= first + length * 1.000001; i += 1) {
      var share = (i * step - first) / length, x = 100 * share;
      var anchor = 0.04 > share ? "axis from" : share > 0.96 ? "axis to" : "axis";
      parts.push([x, anchor, seconds(i * step)]);
    }
    while (axis.firstChild) axis.removeChild(axis.firstChild);
    parts.forEach(function (part) {
      var line = document.createElementNS(axis.namespaceURI, "line");
      line.setAttribute("x1", part[0] + "%"); line.setAttribute("x2", part[0] + "%");
      line.setAttribute("y1", y); line.setAttribute("y2", y + 5); line.setAttribute("class", "tick");
      var text = document.createElementNS(axis.namespaceURI, "text");
      text.setAttribute("x", part[0] + "%"); text.setAttribute("y", y + 18); text.setAttribute("class", part[1]);
      text.textContent = part[2];
      axis.appendChild(line); axis.appendChild(text);
    });
  }

  function show() {
    width = Math.min(UNITS, Math.max(width, UNITS / 5000));
    from = Math.min(UNITS - width, Math.max(0, from));
    windows.forEach(function (one) {
      var box = one.viewBox.baseVal;
      box.x = from; box.width = width;
    });
    charts.forEach(function (chart) {
      var axis = chart.querySelector(".time-axis");
      if (axis) drawAxis(axis, +chart.getAttribute("data-seconds"));
    });
  }

  // Zooms around a share of the visible part.
  function zoom(factor, share) {
    var center = from + share * width;
    width = Math.min(UNITS, width * factor);
    from = center - share * width;
    show();
  }

  function shareOf(event, target) {
    var box = target.getBoundingClientRect();
    return (event.clientX - box.left) / Math.max(1, box.width);
  }

  document.addEventListener("click", function (event) {
    var action = event.target.getAttribute("data-zoom");
    if (action === "in") zoom(0.5, 0.5);
    if (action === "out") zoom(2, 0.5);
    if (action === "all") { from = 0; width = UNITS; show(); }
  });

  windows.forEach(function (one) {
    var drag = null;
    one.addEventListener("wheel", function (event) {
      if (!(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, shareOf(event, one));
    }, { passive: false });
    one.addEventListener("pointerdown", function (event) {
      drag = { x: event.clientX, from: from, box: one.getBoundingClientRect().width };
      one.setPointerCapture(event.pointerId);
    });
    one.addEventListener("pointermove", function (event) {
      if (!drag) return;
      from = drag.from - (event.clientX - drag.x) / drag.box * width;
      show();
    });
    ["pointerup", "pointercancel"].forEach(function (name) {
      one.addEventListener(name, function () { drag = null; });
    });
    one.addEventListener("dblclick", function (event) { zoom(0.25, shareOf(event, one)); });
  });

  // What a slice says: "instruction,start,end,count".
  function sliceTip(data) {
    var numbers = data.split(",").map(Number), text = texts[numbers[0]] || ["", "", ""];
    var group = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");
    var lines = [];
    if (numbers[3] > 1) lines.push(numbers[3] + " instructions, the longest:");
    lines.push(text[1] || "a move that no node asks for");
    if (text[2]) lines.push(text[2]);
    lines.push("cycles " + group(numbers[1]) + " … " + group(numbers[2]) + ", " + group(numbers[2] - numbers[1]) + " long");
    return [text[0], lines.join("\n")];
  }

  document.addEventListener("mousemove", function (event) {
    var slice = event.target.closest ? event.target.closest("[data-s],[data-tip]") : null;
    if (!slice) { tip.hidden = true; return; }
    var parts = slice.hasAttribute("data-s") ? sliceTip(slice.getAttribute("data-s")) : ["", slice.getAttribute("data-tip")];
    tip.textContent = "";
    if (parts[0]) {
      var code = document.createElement("b");
      code.textContent = parts[0];
      tip.appendChild(code);
      tip.appendChild(document.createTextNode("\n"));
    }
    tip.appendChild(document.createTextNode(parts[1]));
    tip.hidden = false;
    var x = event.clientX + 14, y = event.clientY + 14;
    tip.style.left = Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : y) + "px";
  });

  addEventListener("resize", show);
  show();
}());
