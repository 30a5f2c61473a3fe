/* Keeps the parts of a page that are marked data-gw-live fresh, as long as one of them has data-gw-open.
   It asks for the page itself with the ETag that it had: 304 says that nothing changed. It rests while the tab is
   hidden, while rows are ticked, and while somebody writes; without it the page works as any other. */
"use strict";

(() => {
    const SOON = 2000;
    const LATE = 15000;
    let etag = null;
    let wait = SOON;
    let timer = null;
    let asking = null;

    const parts = (page) => [...page.querySelectorAll("[data-gw-live][id]")];
    const isOpen = () => parts(document).some((part) => part.hasAttribute("data-gw-open"));
    const inUse = () =>
        document.querySelector("[data-gw-live] input.action-select:checked") !== null ||
        (document.activeElement?.matches("input:not([type=checkbox]), select, textarea") &&
            document.activeElement.closest("[data-gw-live]") !== null);

    /* What a screen reader is told; only when it is news. */
    function say(text) {
        const voice = document.getElementById("gw-voice");
        if (voice && text && voice.dataset.said !== text) {
            voice.dataset.said = text;
            voice.textContent = text;
        }
    }

    function remember(part) {
        const at = document.activeElement;
        if (!at || !part.contains(at)) {
            return () => {};
        }
        const same = at.id ? `#${CSS.escape(at.id)}` : at.href ? `a[href="${CSS.escape(at.getAttribute("href"))}"]` : null;
        return () => {
            const again = (same && part.querySelector(same)) || part;
            if (again === part) {
                part.tabIndex = -1;
            }
            again.focus({preventScroll: true});
        };
    }

    function keepOpened(part, next) {
        for (const details of part.querySelectorAll("details[id][open]")) {
            const same = next.querySelector(`#${CSS.escape(details.id)}`);
            if (same) {
                same.open = true;
            }
        }
    }

    /* The admin's own script holds on to the boxes that were there first. */
    function bindBoxes(part) {
        const boxes = part.querySelectorAll("tr input.action-select");
        if (boxes.length > 0) {
            window.Actions?.(boxes);
        }
    }

    function show(page) {
        for (const part of parts(document)) {
            const next = page.getElementById(part.id);
            if (!next) {
                continue;
            }
            if (part.innerHTML !== next.innerHTML) {
                const refocus = remember(part);
                keepOpened(part, next);
                part.replaceChildren(...next.childNodes);
                refocus();
                bindBoxes(part);
            }
            part.toggleAttribute("data-gw-open", next.hasAttribute("data-gw-open"));
            say(next.dataset.gwSay);
        }
        tick();
    }

    async function ask() {
        asking = new AbortController();
        try {
            const response = await fetch(window.location.href, {
                headers: etag ? {"If-None-Match": etag} : {},
                credentials: "same-origin",
                redirect: "error",
                signal: AbortSignal.any([asking.signal, AbortSignal.timeout(LATE)]),
            });
            if (response.status === 200) {
                const text = await response.text();
                if (inUse()) {
                    return;
                }
                etag = response.headers.get("ETag");
                show(new DOMParser().parseFromString(text, "text/html"));
                wait = SOON;
            } else {
                wait = response.status === 304 ? SOON : LATE;
            }
        } catch {
            wait = LATE;
        } finally {
            asking = null;
        }
    }

    function later() {
        window.clearTimeout(timer);
        timer = document.hidden || !isOpen() ? null : window.setTimeout(turn, wait);
    }

    async function turn() {
        if (!inUse()) {
            await ask();
        }
        later();
    }

    /* Times that go on. */
    function tick() {
        for (const part of document.querySelectorAll("[data-gw-since]")) {
            const seconds = Math.max(0, Math.floor((Date.now() + ahead - Date.parse(part.dataset.gwSince)) / 1000));
            const minutes = Math.floor(seconds / 60);
            part.textContent =
                minutes < 1 ? `${seconds} s`
                : minutes < 60 ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s`
                : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
        }
    }

    const now = document.querySelector("[data-gw-now]");
    const ahead = now ? Date.parse(now.dataset.gwNow) - Date.now() : 0;

    document.addEventListener("visibilitychange", () => {
        if (document.hidden) {
            window.clearTimeout(timer);
            asking?.abort();
        } else if (isOpen() && !asking) {
            turn();
        }
    });
    window.setInterval(() => document.hidden || tick(), 1000);
    tick();
    later();
})();
