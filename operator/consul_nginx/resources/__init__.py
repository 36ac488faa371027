"""The custom resources as typed models: what people write, validated at the edge."""
