"""What an HTML form sends: names and values of `application/x-www-form-urlencoded`, read with care."""

from typing import cast
from urllib.parse import parse_qsl

from starlette.requests import Request

from porch.contract.errors import InvalidInput
from porch.contract.text import check_text
from porch.http.body import check_uncompressed
from porch.http.problem import BadRequest, UnsupportedMediaType

TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 200
MAX_FIELD_BYTES = 512 * 1024


def is_form(request: Request) -> bool:
    """Whether the body announces itself as a form's."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == TYPE


async def form(request: Request) -> dict[str, str]:
    """The fields of a form, line ends as `\\n`; of a name sent twice the last. `fields` has them all.

    Raises UnsupportedMediaType, BadRequest for what is not UTF-8, InvalidInput for NUL and too much.
    """
    return dict(await fields(request))


async def fields(request: Request) -> list[tuple[str, str]]:
    """The fields in the order of the page: checkboxes share one name. Raises like `form`."""
    held = getattr(request.state, "fields", None)
    if held is None:
        held = request.state.fields = _read(request, await request.body())
    return cast("list[tuple[str, str]]", held)


def _read(request: Request, body: bytes) -> list[tuple[str, str]]:
    if not body:
        return []
    check_uncompressed(request.headers)
    if not is_form(request):
        raise UnsupportedMediaType(f"This address reads forms of a page; send them as {TYPE!r}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except UnicodeDecodeError:
        raise BadRequest("The form is not in UTF-8. Reload the page and send it again.") from None
    except ValueError:
        raise InvalidInput(f"The form has over {MAX_FIELDS} fields, the limit here.") from None
    return [
        (name, check_text(value, f"The field {name[:60]!r}", MAX_FIELD_BYTES).replace("\r\n", "\n"))
        for name, value in pairs
    ]
