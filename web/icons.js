/* The drawings, as strokes in a square of 24. They are here so that they show when the daemon does
 * not. */

export const ICONS = {
  desktops: "M3 5h18v11H3zM9 20h6M12 16v4",
  sessions: "M3 12h4l3-7 4 14 3-7h4",
  sources: "M7 18a4 4 0 0 1-.6-7.95 6 6 0 0 1 11.5 1.2A3.5 3.5 0 0 1 17.500 18z",
  audit: "M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7",
  access:
    "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c.5-4 3-6 6.500-6s6 2 6.500 6M16 4.500a3.200 3.200 0 0 1 0 6M18 14.500c2 .8 3.200 2.600 3.500 5.500",
  about: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 7.600v.2",
  download: "M12 4v11M7.500 11 12 15.500 16.500 11M4 20h16",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500 21 21",
  diagnose:
    "M14.700 6.300a4 4 0 0 0-5.200 5.200L4 17v3h3l5.500-5.500a4 4 0 0 0 5.200-5.200l-2.400 2.400-2.600-.6-.6-2.600z",
  refresh: "M20 11a8 8 0 1 0-1.500 5.500M20 5v6h-6",
  close: "m6 6 12 12M18 6 6 18",
  chevron: "m9 6 6 6-6 6",
  add: "M12 5v14M5 12h14",
  warning: "M12 4 2.500 20h19zM12 10v4.500M12 17.300v.2",
  ok: "m5 12.500 4.500 4.500L19 7.500",
  logout: "M14 4H5v16h9M10 12h11M17.500 8l4 4-4 4",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.500v13l10-6.500z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  up: "m6 15 6-6 6 6",
  down: "m6 9 6 6 6-6",
};
