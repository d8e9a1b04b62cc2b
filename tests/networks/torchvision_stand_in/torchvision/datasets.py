"""Data sets that nothing reads here."""


class _Unread:
    pass


class CIFAR10(_Unread): ...


class CIFAR100(_Unread): ...


class MNIST(_Unread): ...


class KMNIST(_Unread): ...


class FashionMNIST(_Unread): ...


class ImageFolder(_Unread): ...
