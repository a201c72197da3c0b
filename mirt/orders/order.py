"""Validate an order: its fields, their limits and formats. Money is ``Decimal``, never float."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import ErrorDetails

from mirt.errors import ErrorCode, PermanentError
from mirt.observe.printable import printable
from mirt.orders.phone import normalised_phone

LARGEST_PRICE: Final = Decimal(1_000_000)
MOST_ITEMS: Final = 100


class OrderProblems(PermanentError):  # noqa: N818 - an order's, not the program's
    """A wrong order. ``fields`` names every wrong field, like ``customer.phone``."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(
            "; ".join(f"{field}: {problem}" for field, problem in problems.items()),
            ErrorCode.INVALID_INPUT,
        )
        self.fields = list(problems)


def exact(written: object) -> object:
    """Return a price without the rounding error of a float: its shortest decimal text.

    Raises:
        ValueError: the price is a bool.
    """
    if isinstance(written, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports no TypeError
    return str(written) if isinstance(written, float) else written


def no_formula(text: str) -> str:
    """Return a text that a spreadsheet takes for no formula.

    Raises:
        ValueError: it begins like a formula; exports of orders are opened in spreadsheets.
    """
    if len(text) > 1 and text[0] in "=+-@":
        raise ValueError("must not begin with = + - @")
    return text


ShortText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Words = Annotated[ShortText, AfterValidator(no_formula)]
WordOrNumber = Annotated[ShortText, Field(coerce_numbers_to_str=True), AfterValidator(no_formula)]
Phone = Annotated[
    str, BeforeValidator(normalised_phone), WithJsonSchema({"type": "string"}, mode="validation")
]
Price = Annotated[
    Decimal,
    BeforeValidator(exact),
    Field(gt=0, le=LARGEST_PRICE, decimal_places=2, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0}, mode="validation"),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _is_printable(cls, value: object) -> object:
        """Read a text as one line; refuse what a terminal or a page would obey."""
        if not isinstance(value, str):
            return value
        line = re.sub(r"[\t\r\n]+", " ", value)
        if printable(line) != line:
            raise ValueError("must not contain control characters")
        return line


_P = TypeVar("_P", bound=_Part)


class Customer(_Part):
    """The receiver of an order, and the address."""

    full_name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=2, max_length=100),
        AfterValidator(no_formula),
    ]
    phone: Phone
    city: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=2, max_length=50),
        AfterValidator(no_formula),
    ]
    nova_poshta_branch: Words | None = None
    telegram_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    manychat_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None


class Item(_Part):
    """A product with size, color, price and quantity."""

    product_id: WordOrNumber
    product_name: Words
    size: WordOrNumber
    color: Words
    price: Price
    quantity: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    sku: WordOrNumber | None = None

    @property
    def cost(self) -> Decimal:
        """Price of the whole quantity."""
        return self.price * self.quantity


class AgreedOrder(_Part):
    """The part of an order that a customer and the agent agree on."""

    customer: Customer
    items: Annotated[list[Item], Field(min_length=1, max_length=MOST_ITEMS)]
    payment_method: Words | None = None
    delivery_method: Words | None = None

    @property
    def subtotal(self) -> Decimal:
        """Price of all items, without delivery."""
        return sum((item.cost for item in self.items), Decimal(0))


class Order(AgreedOrder):
    """A complete order, the argument of ``create_crm_order``.

    ``external_id`` is our name for the order, and the CRM keeps it.
    """

    external_id: Annotated[ShortText, Field(coerce_numbers_to_str=True)]
    source: ShortText
    source_id: Annotated[ShortText, Field(coerce_numbers_to_str=True)]


AGREED_SCHEMA: Final[Mapping[str, Any]] = AgreedOrder.model_json_schema()
"""JSON Schema of the arguments with which an agent asks for an order."""


def read_order(data: object) -> Order:
    """Validate an order.

    Raises:
        OrderProblems: INVALID_INPUT; the text names every wrong field and shows no value.
    """
    return _read(Order, data)


def read_agreed_order(data: object) -> AgreedOrder:
    """Validate the order that an agent reports as agreed on. Raises the same as ``read_order``."""
    return _read(AgreedOrder, data)


def _read(shape: type[_P], data: object) -> _P:
    try:
        return shape.model_validate(data)
    except ValidationError as refused:
        errors = refused.errors(include_input=False, include_context=False, include_url=False)
    raise OrderProblems({_path(one["loc"]): _problem(one) for one in errors})


def _path(steps: Sequence[str | int]) -> str:
    return ".".join(map(str, steps)) or "order_data"


def _problem(error: ErrorDetails) -> str:
    if error["type"] == "model_type":  # pydantic's text would name our class
        return "Input should be an object"
    return error["msg"].removeprefix("Value error, ")
