"""A transform that timm's tables know by its class."""


class ToTensor: ...
