class LoRARequest:
    def __init__(self, name: str, number: int, path: str) -> None:
        self.name, self.lora_int_id, self.path = name, number, path
