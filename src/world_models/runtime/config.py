"""What the configs of all rooms have in common: frozen, strict, and each field explains itself."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(gt=0, le=1)]
Precision = Literal["auto", "32-true", "bf16-mixed"]
Executor = Literal["local", "ray"]
Strategy = Literal["auto", "ddp"]
WeightsPrecision = Literal["auto", "32-true", "bf16-true"]


class Config(BaseModel):
    """A section of params.yaml, whose defaults are what both of the paper's experiments share.

    An unknown key, a wrong type or a value out of range raises pydantic's ValidationError.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _none_is_nothing(cls, values: Any) -> Any:
        """The descriptions' word for it, where YAML has null."""
        if not isinstance(values, dict):
            return values
        return {name: None if value == "none" else value for name, value in values.items()}
