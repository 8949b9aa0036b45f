// Wide tables scroll sideways in a box of the theme's; the keyboard reaches it too.
document$.subscribe(() => requestAnimationFrame(() => {
  document.querySelectorAll(".md-typeset__scrollwrap").forEach(box => {
    box.tabIndex = 0; box.setAttribute("role", "region"); box.setAttribute("aria-label", "Table");
  });
}));
