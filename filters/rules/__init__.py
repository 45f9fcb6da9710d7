"""Published rules of text quality: measures of a text, and profiles (YAML files beside this one) that name and bound them."""
