"""Errors in the use of the model, and the errno values that its functions return."""

EPERM = 1
EFAULT = 14
ENOMEM = 12
EAGAIN = 11
EINVAL = 22


class ModelError(Exception):
    """A mistake in the use of the model. Its text is one sentence for the user."""


class ScopeError(ModelError):
    """A scope that makes no sense."""


class SchemeError(ModelError):
    """A scheme that breaks the interface: a missing hook, a nonsense answer, a forbidden read."""


class KernelOops(Exception):  # noqa: N818 - the kernel's own word
    """The modelled kernel touched memory that it must not touch.

    `kind` is the name of the violation: use_after_free, null_dereference, double_free, kernel_bug
    (a BUG() of the modelled kernel; then `field` is its text), or out_of_range (a field that got a
    value outside its range; then `index` is the value).
    """

    def __init__(self, kind: str, struct: str, field: str, index: int) -> None:
        self.kind = kind
        self.struct = struct
        self.field = field
        self.index = index
        super().__init__(f"{kind}: {struct}[{index}].{field}")
