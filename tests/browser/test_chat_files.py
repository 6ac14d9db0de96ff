"""Pictures and files in the chat: chosen, pasted, dropped, looked at, taken away, sent, and there after a reload."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from porch.contract.attachments import MIB
from tests.browser.conftest import Visit
from tests.browser.house import House
from tests.browser.test_chat import ENDLESS, Axe, Chat, Reload, chat
from tests.pictures import coded, gif, png

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Locator, Page, Route

pytest.importorskip("playwright", reason="the browser group is not installed")
from playwright.async_api import expect

__all__ = ["chat"]

Picture = Callable[["Page", str], Awaitable[Path]]
PORCH: dict[str, Any] = {
    "name": "porch.png",
    "mimeType": "image/png",
    "buffer": png(320, 200, b"\xb4\x63\x1e"),
}
LEASE = {"name": "lease.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 " + b"x" * 5000}
NOTES: dict[str, Any] = {"name": "notes.md", "mimeType": "text/markdown", "buffer": "# Grüße".encode()}


async def attach(chat: Chat, *files: dict[str, Any]) -> None:
    """Choose files as a person does, by the button."""
    async with chat.page.expect_file_chooser() as choosing:
        await chat.page.get_by_role("button", name="Attach pictures or files").click()
    chooser = await choosing.value
    await chooser.set_files(list(files))  # pyright: ignore[reportArgumentType]  # FilePayload, spelled as a dict


def attached(chat: Chat) -> "Locator":
    return chat.page.get_by_role("list", name="Attached to this message").get_by_role("listitem")


def shown(chat: Chat) -> "Locator":
    return chat.questions.last.get_by_role("list", name="Attached", exact=True)


async def is_drawn(picture: "Locator") -> None:
    """The browser has the bytes and could read them."""
    await expect(picture).to_be_visible()
    await picture.evaluate("img => img.decode()")


def refusal(chat: Chat) -> "Locator":
    return chat.page.locator(".composer .refusal-hint")


async def test_chosen_files_are_previewed_sent_and_there_after_a_reload(chat: Chat, reload: Reload) -> None:
    await attach(chat, PORCH, LEASE, NOTES)
    await expect(attached(chat)).to_have_count(3)
    await expect(attached(chat).nth(1)).to_contain_text("lease.pdf")
    await expect(attached(chat).nth(1)).to_contain_text("5 KiB")
    await is_drawn(attached(chat).first.locator("img"))
    await expect(chat.box).to_be_focused()
    await chat.say("[[say A porch.]] What is it?")
    await expect(chat.answers.last).to_contain_text("A porch.")
    await chat.finished()
    await expect(attached(chat)).to_have_count(0)
    await is_drawn(shown(chat).get_by_alt_text("Picture porch.png"))
    path = f"/api/v1/conversations/{await chat.conversation()}/messages"
    parts = (await chat.house.api("GET", path))["items"][0]["parts"]
    assert [(part["type"], part.get("media_type"), part.get("name")) for part in parts] == [
        ("image", "image/png", "porch.png"),
        ("file", "application/pdf", "lease.pdf"),
        ("file", "text/markdown", "notes.md"),
        ("text", None, None),
    ]
    await reload(chat.page)
    await is_drawn(shown(chat).get_by_alt_text("Picture porch.png"))
    async with chat.page.expect_download() as downloading:
        await shown(chat).get_by_role("link", name="notes.md").click()
    download = await downloading.value
    assert download.suggested_filename == "notes.md"
    assert (await download.path()).read_bytes() == NOTES["buffer"]


async def test_a_picture_alone_is_sent(chat: Chat) -> None:
    send = chat.page.get_by_role("button", name="Send", exact=True)
    await expect(send).to_have_attribute("aria-disabled", "true")
    await attach(chat, PORCH)
    await expect(send).to_have_attribute("aria-disabled", "false")
    await send.click()
    await is_drawn(shown(chat).get_by_alt_text("Picture porch.png"))
    await chat.finished()
    await expect(chat.questions.last.locator(".bubble")).to_be_hidden()


async def test_an_attachment_is_removed_by_keyboard_and_the_focus_goes_on(chat: Chat) -> None:
    await attach(chat, PORCH, LEASE)
    await expect(attached(chat)).to_have_count(2)
    await chat.page.get_by_role("button", name="Remove porch.png").press("Enter")
    await expect(attached(chat)).to_have_count(1)
    await expect(chat.page.get_by_role("button", name="Remove lease.pdf")).to_be_focused()
    await expect(chat.page.get_by_role("status").filter(has_text="porch.png is removed.")).to_have_count(1)
    await chat.page.keyboard.press("Enter")
    await expect(attached(chat)).to_have_count(0)
    await expect(chat.box).to_be_focused()


TRANSFER = """async (element, [event, files, text]) => {
  const transfer = new DataTransfer();
  for (const [name, type, data] of files) {
    const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  if (text) transfer.setData("text/plain", text);
  const about = { bubbles: true, cancelable: true, composed: true };
  if (event === "paste") element.dispatchEvent(new ClipboardEvent("paste", { ...about, clipboardData: transfer }));
  else for (const name of ["dragover", "drop"]) {
    element.dispatchEvent(new DragEvent(name, { ...about, dataTransfer: transfer }));
  }
}"""


@pytest.mark.parametrize("way", ["paste", "drop"])
async def test_a_picture_can_be_pasted_and_dropped(chat: Chat, way: str) -> None:
    target = chat.box if way == "paste" else chat.page.locator(".chat .transcript")
    await target.evaluate(TRANSFER, [way, [["image.png", "image/png", coded(png(20, 20))]], ""])
    await expect(attached(chat)).to_have_count(1)
    await is_drawn(attached(chat).locator("img"))


async def test_what_has_words_is_pasted_as_words(chat: Chat) -> None:
    await chat.box.evaluate(
        TRANSFER, ["paste", [["image.png", "image/png", coded(png())]], "a cell of a sheet"]
    )
    await attach(chat, LEASE)
    await expect(attached(chat)).to_have_count(1)
    await expect(attached(chat)).to_contain_text("lease.pdf")


HUGE = {"name": "huge.png", "mimeType": "image/png", "buffer": png(size=5 * MIB + 1)}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too large": (HUGE, "huge.png is 5.1 MiB large, and a picture may have 5 MiB at most"),
    "another kind of picture": (
        {"name": "x.svg", "mimeType": "image/svg+xml", "buffer": b"<svg/>"},
        "Save it as PNG, JPEG, GIF or WebP.",
    ),
    "a program": ({"name": "x.exe", "mimeType": "", "buffer": b"MZ\x90\x00\xff"}, "x.exe is not taken"),
    "a page named like a picture": (
        {"name": "x.png", "mimeType": "image/png", "buffer": b"<!doctype html><script>1</script>"},
        "x.png is named like a picture, but there is none in it.",
    ),
    "words named like a PDF": (
        {"name": "x.pdf", "mimeType": "application/pdf", "buffer": b"Dear landlord"},
        "x.pdf is named like a PDF, but there is none in it.",
    ),
    "a damaged picture": (
        {"name": "x.png", "mimeType": "image/png", "buffer": png()[:20]},
        "x.png is damaged and cannot be shown.",
    ),
    "a picture of too many pixels": (
        {"name": "x.png", "mimeType": "image/png", "buffer": png(8001, 1)},
        "x.png is 8,001 by 1 pixels large.",
    ),
    "empty": ({"name": "x.txt", "mimeType": "text/plain", "buffer": b""}, "x.txt is empty."),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_taken_is_said_before_it_is_sent(chat: Chat, case: str) -> None:
    file, sentence = REFUSED[case]
    await attach(chat, file)
    await expect(refusal(chat)).to_contain_text(sentence)
    await expect(attached(chat)).to_have_count(0)


async def test_of_many_files_that_are_not_taken_some_are_named_and_the_others_counted(chat: Chat) -> None:
    wrong = [{"name": f"{n}.exe", "mimeType": "", "buffer": b"MZ\x90\x00\xff"} for n in range(1, 6)]
    await attach(chat, *wrong, NOTES)
    await expect(attached(chat)).to_have_count(1)
    await expect(refusal(chat)).to_contain_text(
        re.compile(r"1\.exe is not taken: .* 2\.exe .* JSON\. 3 more were not taken either\.$")
    )
    await attach(chat, NOTES)
    await expect(attached(chat)).to_have_count(2)
    await expect(refusal(chat)).to_have_text("")


async def test_a_picture_goes_as_what_it_is_whatever_its_name_says(chat: Chat) -> None:
    await attach(chat, {"name": "from-a-messenger.png", "mimeType": "image/png", "buffer": gif()})
    await is_drawn(attached(chat).locator("img"))
    await chat.say("[[say Seen.]]")
    await chat.finished()
    path = f"/api/v1/conversations/{await chat.conversation()}/messages"
    assert (await chat.house.api("GET", path))["items"][0]["parts"][0]["media_type"] == "image/gif"


async def test_what_the_server_refuses_comes_back_with_its_sentence(page: "Page", house: House) -> None:
    chat = await Chat(page, house, await house.agent(model="scripted:small")).open()
    await attach(chat, PORCH)
    await chat.say("What is it?")
    await expect(page.get_by_role("alert")).to_contain_text("cannot look at pictures ('scripted:small')")
    await expect(chat.box).to_have_value("What is it?")
    await expect(attached(chat)).to_have_count(1)
    await page.get_by_role("button", name="Remove porch.png").click()
    await chat.say("[[say Then in words.]]")
    await expect(chat.answers.last).to_contain_text("Then in words.")
    await chat.finished()


async def test_attachments_stay_while_an_answer_is_written(chat: Chat) -> None:
    await chat.say(ENDLESS)
    await expect(chat.stop).to_be_visible()
    await attach(chat, PORCH)
    await chat.box.press("Enter")
    await expect(refusal(chat)).to_contain_text("still being written")
    await chat.stop.click()
    await chat.finished()
    await expect(attached(chat)).to_have_count(1)


async def test_a_message_sent_without_network_arrives_once_with_its_files(
    chat: Chat, context: "BrowserContext"
) -> None:
    await chat.say("[[say Ready.]]")
    await chat.finished()
    await attach(chat, PORCH)
    await expect(attached(chat)).to_have_count(1)
    await context.set_offline(True)
    await chat.say("[[say Seen.]]")
    await expect(chat.page.get_by_text("Trying again to send your message")).to_be_visible()
    await context.set_offline(False)
    await expect(chat.answers.last).to_contain_text("Seen.")
    await chat.finished()
    assert await chat.count() == 4
    await is_drawn(shown(chat).get_by_alt_text("Picture porch.png"))


async def test_a_file_of_no_known_type_is_text_when_it_reads_as_text(chat: Chat) -> None:
    await chat.box.evaluate(TRANSFER, ["drop", [["Makefile", "", coded("all: grün".encode())]], ""])
    await expect(attached(chat)).to_contain_text("Makefile")
    await chat.say("[[say Read.]]")
    await chat.finished()
    path = f"/api/v1/conversations/{await chat.conversation()}/messages"
    assert (await chat.house.api("GET", path))["items"][0]["parts"][0]["media_type"] == "text/plain"


async def test_a_reload_says_that_attachments_must_be_chosen_again(chat: Chat, reload: Reload) -> None:
    await chat.box.fill("Look at this")
    await attach(chat, PORCH)
    await expect(attached(chat)).to_have_count(1)
    await reload(chat.page)
    await expect(chat.box).to_have_value("Look at this")
    await expect(refusal(chat)).to_contain_text("attach them again")
    await attach(chat, PORCH)
    await expect(attached(chat)).to_have_count(1)
    await chat.say("[[say Seen.]]")
    await expect(chat.answers.last).to_contain_text("Seen.")
    await chat.finished()
    await reload(chat.page)
    await expect(chat.questions).to_have_count(1)
    await expect(refusal(chat)).to_have_text("")


async def test_a_page_that_goes_away_with_files_on_their_way_gives_back_the_words_and_says_so(
    chat: Chat, reload: Reload
) -> None:
    await chat.say("[[say Ready.]]")
    await chat.finished()

    async def keep_waiting(route: "Route") -> None:
        if route.request.method != "POST":
            await route.continue_()

    await chat.page.route("**/runs", keep_waiting)
    await attach(chat, PORCH)
    await expect(attached(chat)).to_have_count(1)
    await chat.say("Look at this")
    await expect(chat.questions).to_have_count(2)
    await expect(attached(chat)).to_have_count(0)
    await reload(chat.page)
    await expect(chat.box).to_have_value("Look at this")
    await expect(refusal(chat)).to_contain_text("attach them again")
    await expect(chat.questions).to_have_count(1)


async def test_an_edited_message_keeps_its_files(chat: Chat, reload: Reload) -> None:
    await attach(chat, PORCH, NOTES)
    await expect(attached(chat)).to_have_count(2)
    await chat.say("[[say First.]]")
    await chat.finished()
    await reload(chat.page)
    await chat.questions.last.hover()
    await chat.page.get_by_role("button", name="Edit this message").click()
    await expect(chat.questions.last).to_contain_text("with what is attached")
    await chat.page.get_by_label("Your message").fill("[[say Second.]]")
    await chat.page.get_by_label("Your message").press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    await expect(shown(chat).get_by_role("listitem")).to_have_count(2)
    path = f"/api/v1/conversations/{await chat.conversation()}/messages"
    first, _, second, _ = (await chat.house.api("GET", path))["items"]
    for before, after in zip(first["parts"][:2], second["parts"][:2], strict=True):
        assert {**before, "url": ""} == {**after, "url": ""}


async def test_an_edited_message_leaves_behind_what_is_taken_away(chat: Chat) -> None:
    await attach(chat, PORCH, NOTES)
    await expect(attached(chat)).to_have_count(2)
    await chat.say("[[say First.]]")
    await chat.finished()
    await chat.questions.last.hover()
    await chat.page.get_by_role("button", name="Edit this message").click()
    await chat.page.get_by_role("button", name="Remove porch.png").press("Enter")
    await expect(chat.page.get_by_role("button", name="Remove notes.md")).to_be_focused()
    await expect(chat.questions.last).to_contain_text("with what is attached")
    await chat.page.get_by_label("Your message").fill("[[say Second.]]")
    await chat.page.get_by_label("Your message").press("Enter")
    await expect(chat.answers.last).to_contain_text("Second.")
    await chat.finished()
    await expect(shown(chat).get_by_role("listitem")).to_have_count(1)
    path = f"/api/v1/conversations/{await chat.conversation()}/messages"
    second = (await chat.house.api("GET", path))["items"][2]
    assert [part.get("name") for part in second["parts"]] == ["notes.md", None]


async def test_a_stranger_sees_the_pictures_of_a_shared_conversation_with_and_without_scripts(
    house: House, visit: Visit
) -> None:
    conversation = await house.conversation(await house.agent())
    image = {"type": "image", "media_type": "image/png", "data": coded(PORCH["buffer"]), "name": "porch.png"}
    body = {"input": [image, {"type": "text", "text": "[[say A porch.]]"}]}
    path = f"/api/v1/conversations/{conversation}"
    await house.ask("POST", f"{path}/runs", body, Accept="text/event-stream")
    url = house.url + (await house.api("POST", f"{path}/shares"))["url"]
    for scripts in (True, False):
        context = await visit(signed_in=False, java_script_enabled=scripts)
        page = await context.new_page()
        await page.goto(url)
        picture = page.get_by_alt_text("Picture porch.png")
        await expect(picture).to_be_visible()
        await expect(picture).to_have_js_property("naturalWidth", 320)


async def test_axe_finds_nothing_with_attachments_in_both_places(chat: Chat, axe: Axe) -> None:
    await attach(chat, PORCH, LEASE)
    await expect(attached(chat)).to_have_count(2)
    await chat.say("[[say Seen.]]")
    await chat.finished()
    await attach(chat, PORCH, LEASE)
    await expect(attached(chat)).to_have_count(2)
    await axe(chat.page)


@pytest.mark.parametrize(
    ("scheme", "width", "height"), [("light", 390, 844), ("dark", 1280, 800)], ids=["phone", "desk"]
)
async def test_attachments_fit_every_screen(
    house: House, visit: Visit, picture: Picture, scheme: Any, width: int, height: int
) -> None:
    context = await visit(color_scheme=scheme, viewport={"width": width, "height": height})
    page = await context.new_page()
    chat = await Chat(page, house, await house.agent(title="The surveyor")).open()
    large = {
        **PORCH,
        "name": "a-rather-long-name-of-a-photograph-of-our-porch.png",
        "buffer": png(1600, 1000),
    }
    await attach(chat, large, LEASE, NOTES)
    await expect(attached(chat)).to_have_count(3)
    await chat.say("[[say A porch with a lantern.]] What do you see here?")
    await chat.finished()
    await attach(chat, large, LEASE, NOTES)
    await expect(attached(chat)).to_have_count(3)
    await chat.box.fill("And here?")
    await picture(page, f"attachments-{scheme}")
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) == 0
    for place in (shown(chat).locator("img"), attached(chat).nth(2)):
        box = await place.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
