"""What a person looks at: charts, pictures, videos and tables."""
