/**
 * Keeps the newest text in view for a reader who is at the end, and leaves everybody else where they are.
 *
 * A reader leaves the end by scrolling up and comes back by scrolling down to it or by the pill.
 */

const NEAR = 24;

export class ScrollKeeper {
  /** `onLeave(away)` is told when the reader leaves the end (true) and comes back (false). */
  constructor(scroller, content, onLeave) {
    this.scroller = scroller;
    this.following = true;
    this.#anchor();
    this.onLeave = onLeave;
    this.last = 0;
    this.height = 0;
    this.view = 0;
    this.listening = new AbortController();
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true, signal: this.listening.signal });
    this.observer = new ResizeObserver(() => this.keep());
    this.observer.observe(content);
    this.observer.observe(scroller);
  }

  get #distance() {
    return this.scroller.scrollHeight - this.scroller.clientHeight - this.scroller.scrollTop;
  }

  /** After the content changed: go to the end if the reader was there. */
  keep() {
    if (this.following) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
      this.last = this.scroller.scrollTop;
    } else if (this.#distance <= NEAR) {
      this.#follow(true);
    }
    this.#measure();
  }

  /** Go to the end and stay there. */
  toEnd() {
    this.#follow(true);
    this.keep();
  }

  /** Change content above what is read, without moving what is read. */
  hold(anchor, change) {
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    if (anchor?.isConnected) this.scroller.scrollTop += anchor.getBoundingClientRect().top - before;
    this.last = this.scroller.scrollTop;
    this.#measure();
  }

  /** Leave the scrolling to the reader for good. */
  close() {
    this.listening.abort();
    this.observer.disconnect();
  }

  #measure() {
    this.height = this.scroller.scrollHeight;
    this.view = this.scroller.clientHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    // Text that shrinks and a window on it that grows move the reader up too: only a move of their own counts.
    const up = scrollTop < this.last - 1 && scrollHeight >= this.height - 1 && clientHeight <= this.view + 1;
    this.last = scrollTop;
    this.#measure();
    if (up && this.#distance > NEAR) this.#follow(false);
    else if (this.#distance <= NEAR) this.#follow(true);
  }

  /** At the end there is nothing to hold on to, and looking for it would cost in every frame. */
  #anchor() {
    this.scroller.style.overflowAnchor = this.following ? "none" : "auto";
  }

  #follow(following) {
    if (following === this.following) return;
    this.following = following;
    this.#anchor();
    this.onLeave(!following);
  }
}
