from streamwatch.cli.app import main

if __name__ == "__main__":  # workers are spawned: they import it
    main()
