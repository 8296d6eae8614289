print("vagus")
